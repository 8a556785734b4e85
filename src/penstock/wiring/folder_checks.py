"""Examines a data folder: its lock, databases, files, permissions and disk.

Called by `penstock.cli.doctor`. Nothing is changed. SQLite's databases can be examined only while
no server has them open; the files, and PostgreSQL, always.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.core.findings import Finding, ok, problem, warning
from penstock.stores.postgres_url import PostgresUrl
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.file_checks import MIB, Progress, examine_files
from penstock.wiring.file_needs import Needs, Rows, needs_of, read_rows
from penstock.wiring.postgres_checks import examine_postgres

#: Free bytes below which a disk is a warning, and below which it is a problem.
_LITTLE = 1024 * MIB
_NONE = 100 * MIB

#: What to do about a damaged database.
_RESTORE = "Restore it from a backup."
_BEGUN_ANEW = (
    "The server sets it aside at its next start: the past in lists, logs and figures is lost, "
    "nothing else."
)


def examine_folder(
    root: Path, progress: Progress, database: PostgresUrl | None = None
) -> Iterator[Finding]:
    """Yield what there is to say about the data folder `root`.

    Args:
        root: The folder.
        progress: Told how far the files are.
        database: Where its records are; None: in the folder.

    Raises:
        StoreError: There is no such folder.
    """
    if not root.is_dir():
        raise StoreError(
            f"There is no data folder {root}.",
            hint="Name it with --data; `penstock serve` prints where it is.",
        )
    rows: Rows | None = None
    if database is not None:
        rows = yield from examine_postgres(database)
    try:
        with DataFolder(root) as folder:
            yield ok("folder", f"{root} is used by no server just now.")
            if database is None:
                yield from _examine_elsewhere(folder)
                yield from _examine_database("records", folder.records, _RESTORE)
                rows = _rows(folder.records)
            yield from _examine_database("memory", folder.memory, _RESTORE)
            yield from _examine_database("history", folder.insight, _BEGUN_ANEW)
    except StoreError as error:
        yield warning(
            "folder",
            f"{error.message} Its databases cannot be examined meanwhile.",
            "Stop the server for a full examination, or ask it: penstock doctor --server URL.",
        )
    yield from _examine_files(root, rows, progress)
    yield from _examine_permissions(root)
    yield _examine_disk(root)


def _examine_files(root: Path, rows: Rows | None, progress: Progress) -> Iterator[Finding]:
    if rows is None:
        yield from examine_files(root, None, None, progress)
        return
    blobs: Needs = {}
    uploads: Needs = {}
    yield from needs_of(rows, blobs, uploads)
    yield from examine_files(root, blobs, uploads, progress)


def _examine_database(name: str, path: Path, advice: str) -> Iterator[Finding]:
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
    yield problem(name, f"{path.name} is damaged: {found}.", advice)


def _examine_elsewhere(folder: DataFolder) -> Iterator[Finding]:
    if folder.elsewhere.exists() and not folder.records.exists():
        where = folder.elsewhere.read_text(encoding="utf-8").strip()
        yield warning(
            "records",
            f"They are in {where}, and were not examined.",
            "Set PENSTOCK_DATABASE as for the server.",
        )


def _rows(path: Path) -> Rows | None:
    """Return what a file of records holds about files; None if it is damaged, which was said."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        try:
            return read_rows(lambda query: connection.execute(query).fetchall())
        finally:
            connection.close()
    except sqlite3.Error:
        return None


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
