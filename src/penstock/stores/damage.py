"""Sets a damaged SQLite file aside. Only for a file that serving does not depend on.

Used by `sqlite_insight`. The files that people's work is in are never replaced: a server whose
records or memory are damaged says so and does not start.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from penstock.stores.failures import disk_failure

_DAMAGE = ("malformed", "not a database")


def means_damage(error: BaseException | None) -> bool:
    """Whether an exception of `sqlite3` says that the file itself is broken."""
    return isinstance(error, sqlite3.Error) and any(told in str(error) for told in _DAMAGE)


def set_aside(path: Path) -> Path:
    """Rename a damaged file and return its new path; an earlier one of that name is replaced.

    Raises:
        StoreError: The disk refuses.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        # A write-ahead log that is left would be taken for that of the next file.
        for name in (f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
    except OSError as error:
        raise disk_failure(error, f"Setting the damaged {path} aside") from error
    return aside
