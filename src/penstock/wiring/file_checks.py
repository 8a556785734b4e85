"""Examines the files of a data folder: their bytes, and those that are needed and missing.

Called by `folder_checks`. Nothing is changed, and a server may use the folder meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from penstock.core.findings import Finding, ok, problem
from penstock.core.names import is_sha256
from penstock.wiring.file_needs import Needs

#: Called with bytes done and bytes in all while files are hashed.
Progress = Callable[[int, int], None]

MIB = 1024 * 1024
_PIECE = 1024 * 1024


def examine_files(
    root: Path, blobs: Needs | None, uploads: Needs | None, progress: Progress
) -> Iterator[Finding]:
    """Compare every file with the hash that it is named by, and look for those that are needed.

    Args:
        root: The data folder.
        blobs: What needs each blob; None when the records could not be read.
        uploads: What needs each uploaded file, likewise.
        progress: Told how far it is.
    """
    held = {"blobs": _named(root / "blobs"), "files": _named(root / "files")}
    sizes = {path: _size(path) for paths in held.values() for path in paths.values()}
    done, total, bad = 0, sum(sizes.values()), []
    for path in sorted(sizes):
        if _digest(path) != path.name and path.exists():  # a server may have deleted it meanwhile
            bad.append(path)
        done += sizes[path]
        progress(done, total)
    needs = {"blobs": blobs or {}, "files": uploads or {}}
    for path in bad:
        place = path.parent.parent.name
        yield _lost(path.name, "has changed on the disk", needs[place])
    for place, wanted in needs.items():
        for sha256 in sorted(set(wanted) - set(held[place])):
            yield _lost(sha256, "is missing", wanted)
    if not bad:
        yield ok("files", f"{len(sizes)} files have the bytes they are named by.")
    if blobs is not None:
        spare = set(held["blobs"]) - set(blobs)
        yield from _leftovers(root, sum(sizes[held["blobs"][name]] for name in spare))


def _named(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.glob("??/*") if is_sha256(path.name)}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lost(sha256: str, what: str, needs: Needs) -> Finding:
    found = needs.get(sha256)
    if not found:
        return problem("files", f"The file {sha256} {what}.", "Check the disk.")
    whose = ", ".join(need.whose for need in found[:3])
    return problem(
        "files", f"The file {sha256} {what}; it is {found[0].what} of {whose}.", found[0].advice
    )


def _leftovers(root: Path, spare: int) -> Iterator[Finding]:
    if spare:
        yield ok("files", f"{spare / MIB:.1f} MiB are used by nothing; the server deletes them.")
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
