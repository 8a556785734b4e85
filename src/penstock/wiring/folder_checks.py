"""Examines a data folder: its lock, databases, files, permissions and disk.

Called by `penstock.cli.doctor`. Nothing is changed. The databases can be examined only while no
server has them open; the files always.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from penstock.codec.bundle import read_manifest
from penstock.core.errors import PenstockError, StoreError
from penstock.core.findings import Finding, ok, problem, warning
from penstock.core.names import is_sha256
from penstock.wiring.data_folder import DataFolder

#: Called with bytes done and bytes in all while files are hashed.
Progress = Callable[[int, int], None]

MIB = 1024 * 1024
#: Free bytes below which a disk is a warning, and below which it is a problem.
_LITTLE = 1024 * MIB
_NONE = 100 * MIB

_PIECE = 1024 * 1024


class _Use(NamedTuple):
    """A version that needs a file: its name for people, and the file's name in the bundle."""

    version: str
    name: str


def examine_folder(root: Path, progress: Progress) -> Iterator[Finding]:
    """Yield what there is to say about the data folder `root`.

    Raises:
        StoreError: There is no such folder.
    """
    if not root.is_dir():
        raise StoreError(
            f"There is no data folder {root}.",
            hint="Name it with --data; `penstock serve` prints where it is.",
        )
    uses: dict[str, list[_Use]] = {}
    try:
        with DataFolder(root) as folder:
            yield ok("folder", f"{root} is used by no server just now.")
            yield from _examine_database("records", folder.records)
            yield from _read_uses(folder.records, uses)
            yield from _examine_database("memory", folder.memory)
    except StoreError as error:
        yield warning(
            "folder",
            f"{error.message} Its databases cannot be examined meanwhile.",
            "Stop the server for a full examination, or ask it: penstock doctor --server URL.",
        )
    yield from _examine_files(root, uses, progress)
    yield from _examine_permissions(root)
    yield _examine_disk(root)


def _examine_database(name: str, path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield ok(name, f"There is no {path.name} yet.")
        return
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        try:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        said, broken = [str(error)], []
    if said == ["ok"] and not broken:
        yield ok(name, f"{path.name} is whole ({path.stat().st_size / MIB:.1f} MiB).")
        return
    found = "; ".join(said if said != ["ok"] else [f"{len(broken)} rows refer to nothing"])
    yield problem(name, f"{path.name} is damaged: {found}.", "Restore it from a backup.")


def _read_uses(path: Path, uses: dict[str, list[_Use]]) -> Iterator[Finding]:
    """Fill `uses` with the files of every version; yield what is wrong with manifests."""
    query = "SELECT project, deployment, number, manifest FROM versions WHERE state != 'deleted'"
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        try:
            rows = connection.execute(query).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return  # no such file or table yet, or damaged, which was said
    for project, deployment, number, manifest in rows:
        version = f"{project}/{deployment} version {number}"
        try:
            blobs = read_manifest(bytes(manifest)).blobs()
        except PenstockError as error:
            yield problem("versions", f"{version}: {error.message}", "Deploy it again.")
            continue
        for sha256, blob in blobs.items():
            uses.setdefault(sha256, []).append(_Use(version, blob.name))
    yield ok("versions", f"{len(rows)} versions use {len(uses)} files.")


def _examine_files(
    root: Path, uses: dict[str, list[_Use]], progress: Progress
) -> Iterator[Finding]:
    """Compare every file of bundles, runs and uploads with the hash that it is named by."""
    blobs = {p.name: p for p in (root / "blobs").glob("??/*") if is_sha256(p.name)}
    paths = [*blobs.values(), *(p for p in (root / "files").glob("??/*") if is_sha256(p.name))]
    sizes = {path: path.stat().st_size for path in paths}
    done, total, bad = 0, sum(sizes.values()), []
    for path in sorted(paths):
        if _digest(path) != path.name:
            bad.append(path.name)
        done += sizes[path]
        progress(done, total)
    for name in bad:
        text = f"The file {name} has changed on the disk{_used_by(name, uses)}."
        yield problem("files", text, _AGAIN)
    for name in sorted(set(uses) - set(blobs)):
        text = f"The file {name} is missing{_used_by(name, uses)}."
        yield problem("files", text, _AGAIN)
    if not bad:
        yield ok("files", f"{len(paths)} files have the bytes they are named by.")
    if uses:
        yield from _examine_leftovers(root, sum(sizes[blobs[n]] for n in set(blobs) - set(uses)))


_AGAIN = "Deploy again: the client sends the file again. Check the disk."


def _used_by(name: str, uses: dict[str, list[_Use]]) -> str:
    found = uses.get(name)
    if not found:
        return ""
    versions = ", ".join(use.version for use in found[:3])
    return f"; it is {found[0].name} of {versions}"


def _examine_leftovers(root: Path, spare: int) -> Iterator[Finding]:
    if spare:
        text = f"{spare / MIB:.1f} MiB belong to no version; the server deletes what nothing uses."
        yield ok("files", text)
    cut_off = list((root / "blobs" / "incoming").glob("*"))
    if cut_off:
        yield ok("files", f"{len(cut_off)} uploads were cut off; the server deletes them.")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        return f"unreadable: {error}"
    return digest.hexdigest()


def _examine_permissions(root: Path) -> Iterator[Finding]:
    places = [root, *(p for p in root.iterdir() if p.is_file() or p.name == "blobs")]
    open_to_others = [p for p in places if p.stat().st_mode & _shared_bits(p)]
    for path in open_to_others:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield problem(
            "permissions",
            f"{path} can be used by others (mode {mode:o}).",
            f"chmod {'700' if path.is_dir() else '600'} {path}",
        )
    if not open_to_others:
        yield ok("permissions", "Only the owner can read databases, secrets and files.")


def _shared_bits(path: Path) -> int:
    """Return what others may not do; workers with users of their own go through folders."""
    through = stat.S_IXGRP | stat.S_IXOTH if path.is_dir() else 0
    return (stat.S_IRWXG | stat.S_IRWXO) & ~through


def _examine_disk(root: Path) -> Finding:
    usage = shutil.disk_usage(root)
    text = f"{usage.free / MIB:,.0f} MiB of {usage.total / MIB:,.0f} MiB are free."
    if usage.free < _NONE:
        return problem("disk", text, "Free some space: deploys and saved values are refused soon.")
    if usage.free < _LITTLE:
        return warning("disk", text, "Free some space, or delete versions you no longer need.")
    return ok("disk", text)
