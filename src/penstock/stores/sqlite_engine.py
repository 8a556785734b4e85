"""How a SQLite file is opened: all that is particular to SQLite about the records database.

SQLite has had a rare corruption race between a writer and a checkpointer on different connections
of one WAL file. Each file is therefore opened by exactly one connection, which writes and
checkpoints, and which holds the file's exclusive lock for as long as it lives: a second server on
the same folder is refused instead of sharing. The connection belongs to the thread that opened it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from penstock.core.faults import skipped

#: Milliseconds to wait for the file's lock: time for a server that is just stopping.
BUSY_TIMEOUT_MS = 2000

#: The WAL file is cut back to this size (bytes) when a checkpoint has emptied it.
WAL_KEEP_BYTES = 64 * 1024 * 1024


def set_up(connection: sqlite3.Connection, synchronous: str) -> None:
    """Set the pragmas of a fresh connection and take the file's lock.

    Args:
        connection: Just opened, in autocommit (`isolation_level=None`).
        synchronous: `"FULL"`: a commit survives a power cut. `"NORMAL"`: it survives a crash.
    """
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
        "secure_delete=FAST",  # what is replaced is wiped where its page is written anyway
        f"journal_size_limit={WAL_KEEP_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    # The lock is taken by the first transaction; a second server should fail here, not later.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")


def make_private(path: Path) -> None:
    """Create `path` readable by its owner only; SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def open_engine(path: Path) -> sa.Engine:
    """Return an engine with one durable connection to `path`, for the calling thread only."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": True, "isolation_level": None},
    )

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling would leave DDL outside of transactions.
        connection.isolation_level = None
        # The name of the protection that tests leave out, to see that they would notice.
        set_up(connection, synchronous="OFF" if skipped("records.sync") else "FULL")

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
    return engine
