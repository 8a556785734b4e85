"""Which files the records say are needed, and by what. Used by `folder_checks` and its kin.

Versions need model files and functions, runs large inputs and results, uploads what functions
handed out. The statements are the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from penstock.codec.bundle import read_manifest
from penstock.core.errors import PenstockError
from penstock.core.findings import Finding, ok, problem
from penstock.wiring.logger_checks import examine_loggers

_VERSIONS = (
    "SELECT project, deployment, number, manifest, settings FROM versions WHERE state <> 'deleted'"
)
_RUNS = (
    "SELECT project, deployment, run_id, input_sha256, result_sha256 FROM runs"
    " WHERE input_sha256 IS NOT NULL OR result_sha256 IS NOT NULL"
)
_UPLOADS = "SELECT project, deployment, name, sha256 FROM uploads"


class Rows(NamedTuple):
    """What the records hold about files, and the settings of versions."""

    versions: list[tuple[str, str, int, bytes, str]]
    runs: list[tuple[str, str, str, str | None, str | None]]
    uploads: list[tuple[str, str, str, str]]


class Need(NamedTuple):
    """What a file is, whose it is, and what to do when it is gone."""

    what: str
    whose: str
    advice: str


#: What needs each file, by SHA-256.
Needs = dict[str, list[Need]]

_DEPLOY = "Deploy again: the client sends the file again. Check the disk."
_SUBMIT = "Submit the run again. Check the disk."
_CALL = "Make the call that handed it out again. Check the disk."


def read_rows(select: Callable[[str], list[Any]]) -> Rows:
    """Return the rows that name files; `select` runs a statement and returns its rows."""
    return Rows(select(_VERSIONS), select(_RUNS), select(_UPLOADS))


def needs_of(rows: Rows, blobs: Needs, uploads: Needs) -> Iterator[Finding]:
    """Fill `blobs` and `uploads` with what needs each file; yield what is wrong with versions."""
    yield from _of_versions(rows, blobs)
    for project, deployment, run_id, input_sha256, result_sha256 in rows.runs:
        whose = f"run {run_id} of {project}/{deployment}"
        for what, sha256 in (("the input", input_sha256), ("the result", result_sha256)):
            if sha256 is not None:
                blobs.setdefault(sha256, []).append(Need(what, whose, _SUBMIT))
    for project, deployment, name, sha256 in rows.uploads:
        need = Need(name, f"{project}/{deployment}", _CALL)
        uploads.setdefault(sha256, []).append(need)


def _of_versions(rows: Rows, blobs: Needs) -> Iterator[Finding]:
    files = set()
    for project, deployment, number, manifest, settings in rows.versions:
        version = f"{project}/{deployment} version {number}"
        try:
            found = read_manifest(bytes(manifest)).blobs()
        except PenstockError as error:
            yield problem("versions", f"{version}: {error.message}", "Deploy it again.")
            continue
        for sha256, blob in found.items():
            files.add(sha256)
            blobs.setdefault(sha256, []).append(Need(blob.name, version, _DEPLOY))
        yield from examine_loggers(version, settings)
    yield ok("versions", f"{len(rows.versions)} versions use {len(files)} files.")
