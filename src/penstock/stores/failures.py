"""Turns what SQLite, SQLAlchemy and the disk raise into `StoreError` with advice.

The stores call it, so nothing above them meets a driver's exception.
"""

from __future__ import annotations

import errno
from pathlib import Path

from penstock.core.errors import DiskFull, StoreError

# Fragments of SQLite's own messages: Python 3.10 does not hand out its error codes.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        "locked",
        "{path} is in use by another process",
        "Stop the other Penstock server of this data folder, or choose another folder.",
    ),
    (
        "full",
        "The disk that holds {path} is full",
        "Free some space on that disk; nothing was written.",
    ),
    (
        "no space",
        "The disk that holds {path} is full",
        "Free some space on that disk; nothing was written.",
    ),
    (
        "disk i/o",
        "Reading or writing {path} failed",
        "Check the disk, its free space and its mount.",
    ),
    (
        "malformed",
        "{path} is damaged",
        "Restore the data folder from a backup.",
    ),
    (
        "not a database",
        "{path} is not a SQLite database, or it is damaged",
        "Restore the data folder from a backup, or choose another folder.",
    ),
    (
        "readonly",
        "{path} cannot be written",
        "Give the server's user write access to the data folder.",
    ),
    (
        "unable to open",
        "{path} cannot be opened",
        "Check that the data folder exists and that the server's user may write to it.",
    ),
)


def database_failure(error: Exception, path: Path) -> StoreError:
    """Return the `StoreError` for an exception of `sqlite3` or SQLAlchemy about `path`."""
    cause = str(getattr(error, "orig", None) or error)
    for fragment, message, hint in _KNOWN:
        if fragment in cause.lower():
            kind = DiskFull if "is full" in message else StoreError
            return kind(f"{message.format(path=path)} ({cause}).", hint=hint)
    return StoreError(f"The database {path} failed: {cause}.")


#: What the disk, or its permissions, answer; anything else may be a defect of ours.
_OF_THE_DISK = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)


def file_failure(error: Exception, what: str) -> StoreError | None:
    """Return the `StoreError` for a file of `what` that cannot be used; None for other errors."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return None
    where = f" {error.filename}" if error.filename else ""
    return disk_failure(error, f"Reading or writing a file of {what}{where}")


def disk_failure(error: OSError, doing: str) -> StoreError:
    """Return the `StoreError` for an `OSError` met while `doing` something to a file."""
    hints = {
        errno.ENOSPC: "Free some space on that disk; nothing was kept.",
        errno.EDQUOT: "Raise the disk quota of the server's user; nothing was kept.",
        errno.EACCES: "Give the server's user write access to the data folder.",
        errno.EROFS: "The data folder is on a read-only file system; choose another folder.",
        errno.EMFILE: "Raise the limit of open files of the server process.",
    }
    reason = error.strerror or str(error)
    kind = DiskFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StoreError
    return kind(f"{doing} failed: {reason}.", hint=hints.get(error.errno or 0))
