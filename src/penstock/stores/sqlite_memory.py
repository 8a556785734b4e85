"""`MemoryStore` in a SQLite file of its own; used from the database thread only.

Values stay the opaque bytes the workers sent. Numbers written by `increment` are SQLite numbers.
A commit survives a crash of the server (`synchronous=NORMAL`); the last few may be lost, whole,
when the machine loses power. Plain `sqlite3` instead of SQLAlchemy: a run waits for these calls.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from penstock.core.errors import Conflict, StoreError
from penstock.core.faults import fault
from penstock.stores.base import MemoryItem, MemoryQuota, MemoryWrite, Namespace
from penstock.stores.failures import database_failure
from penstock.stores.memory_quota import Usage, fits, size_of, too_full, total
from penstock.stores.sqlite_engine import make_private, set_up

SCHEMA = 1

# `number` has no type on purpose: SQLite then keeps 3 and 3.0 apart. The value comes last, so that
# the short columns are read without the pages of a long one.
_TABLES = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, deployment TEXT NOT NULL, name TEXT NOT NULL,
    stamp INTEGER NOT NULL, size INTEGER NOT NULL, expires_at REAL, number, value BLOB
);
CREATE UNIQUE INDEX items_by_name ON items (project, deployment, name);
CREATE INDEX items_by_expiry ON items (project, deployment, expires_at)
    WHERE expires_at IS NOT NULL;
CREATE TABLE stamps (ceiling INTEGER NOT NULL);
INSERT INTO stamps VALUES (0);
"""

_SELECT = (
    "SELECT id, stamp, size, expires_at, number, value FROM items"
    " WHERE project = ? AND deployment = ? AND name = ?"
)
_SELECT_SHORT = _SELECT.replace("value FROM", "value IS NOT NULL FROM")
_INSERT = (
    "INSERT INTO items (stamp, size, expires_at, number, value, project, deployment, name)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = "UPDATE items SET stamp = ?, size = ?, expires_at = ?, number = ?, value = ? WHERE id = ?"
_USAGE = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM items WHERE project = ? AND deployment = ?"

#: Stamps are reserved in blocks of this many, so that most writes need not store the counter.
STAMP_BLOCK = 1_000_000


class _Row(NamedTuple):
    """What a namespace holds under a name. `value` is a flag in rows of `_SELECT_SHORT`."""

    id: int
    stamp: int
    size: int
    expires_at: float | None
    number: int | float | None
    value: bytes | int | None

    def alive(self, now: float) -> bool:
        return self.expires_at is None or self.expires_at > now


class SqliteMemory:
    """Memory in one SQLite file. See `MemoryStore` for what each method promises.

    Args:
        path: The file; created with mode 0600 if need be.
        quota: The limits of each namespace.

    Raises:
        StoreError: The file cannot be opened, is damaged, is in use by another server, or was
            written by a newer Penstock.
    """

    def __init__(self, path: Path, quota: MemoryQuota | None = None) -> None:
        self._path = path
        self._quota = quota or MemoryQuota()
        self._usage: dict[Namespace, Usage] = {}
        try:
            make_private(path)
            self._db = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise database_failure(error, path) from error
        self._execute = self._db.execute
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        try:
            set_up(self._db, synchronous="NORMAL")
            found: int = self._execute("PRAGMA user_version").fetchone()[0]
            if found > SCHEMA:
                raise StoreError(
                    f"{self._path} has schema {found}; this Penstock knows schema {SCHEMA}.",
                    hint="Install the Penstock that wrote it or a newer one.",
                )
            if found == 0:
                self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
            self._ceiling: int = self._execute("SELECT ceiling FROM stamps").fetchone()[0]
        except sqlite3.Error as error:
            raise database_failure(error, self._path) from error
        # Whatever the process before us handed out lies at or below its ceiling.
        self._stamp: int = self._ceiling

    @contextmanager
    def _transaction(self) -> Iterator[dict[Namespace, Usage]]:
        """One transaction; yields the usages it changes, which count once it is committed."""
        changed: dict[Namespace, Usage] = {}
        try:
            if self._stamp >= self._ceiling:
                self._reserve_stamps()
            self._execute("BEGIN IMMEDIATE")
            yield changed
            self._execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            raise database_failure(error, self._path) from error
        except BaseException:
            self._roll_back()
            raise
        self._usage.update(changed)

    def _roll_back(self) -> None:
        # After the worst failures SQLite has done it itself, or the file is closed.
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.rollback()

    def _next_stamp(self) -> int:
        """Return a fresh stamp, out of those reserved when the transaction began."""
        self._stamp += 1
        return self._stamp

    def _reserve_stamps(self) -> None:
        """Store, in a transaction of its own, how far stamps may go before the next time."""
        ceiling = self._stamp + STAMP_BLOCK
        self._execute("UPDATE stamps SET ceiling = ?", (ceiling,))
        self._ceiling = ceiling

    def read(self, namespace: Namespace, name: str, now: float) -> MemoryItem | None:
        """Return the value, or None."""
        try:
            found = self._execute(_SELECT, (*namespace, name)).fetchone()
        except sqlite3.Error as error:
            raise database_failure(error, self._path) from error
        if found is None:
            return None
        _, stamp, _, expires_at, number, value = found
        if expires_at is not None and expires_at <= now:
            return None
        return MemoryItem(stamp, value, number, expires_at)

    def publish(self, namespace: Namespace, writes: Sequence[MemoryWrite], now: float) -> int:
        """Apply all writes, in order, or none; return the stamp they all carry."""
        return self.publish_all([(namespace, writes)], now)

    def publish_all(
        self, groups: Sequence[tuple[Namespace, Sequence[MemoryWrite]]], now: float
    ) -> int:
        """Like `publish`, over several namespaces in one transaction."""
        with self._transaction() as usages:
            stamp = self._next_stamp()
            for namespace, writes in groups:
                usage = usages.get(namespace) or self._usage_of(namespace)
                for write in writes:
                    usage = self._apply(namespace, write, stamp, usage)
                usages[namespace] = self._checked(namespace, usage, now)
            fault("memory.publishing")
        fault("memory.published")
        return stamp

    def _apply(self, namespace: Namespace, write: MemoryWrite, stamp: int, usage: Usage) -> Usage:
        old = self._row(namespace, write.name)
        if write.value is not None:
            return self._put(
                namespace, write.name, old, usage, stamp, write.value, None, write.expires_at
            )
        if old is None:
            return usage
        self._execute("DELETE FROM items WHERE id = ?", (old.id,))
        return Usage(usage.names - 1, usage.bytes - old.size)

    def increment(
        self,
        namespace: Namespace,
        name: str,
        by: int | float,
        now: float,
        expires_at: float | None = None,
    ) -> MemoryItem:
        """Add to a number and return it; a missing name counts as 0."""
        with self._transaction() as usages:
            old = self._row(namespace, name)
            before: int | float = 0
            if old is not None and old.alive(now):
                if old.number is None:
                    raise Conflict(
                        f"{name!r} holds a value that was saved, not a number of incr.",
                        hint="Use another name for the counter, or delete the value first.",
                    )
                before = old.number
                expires_at = old.expires_at if expires_at is None else expires_at
            number = total(name, before, by)
            stamp = self._next_stamp()
            usage = self._usage_of(namespace)
            usage = self._put(namespace, name, old, usage, stamp, None, number, expires_at)
            usages[namespace] = self._checked(namespace, usage, now)
        return MemoryItem(stamp, None, number, expires_at)

    def swap(
        self,
        namespace: Namespace,
        name: str,
        expected_stamp: int,
        value: bytes,
        now: float,
        expires_at: float | None = None,
    ) -> int | None:
        """Write if the name still has `expected_stamp` (0: missing); None if it has not."""
        with self._transaction() as usages:
            old = self._row(namespace, name)
            present = old.stamp if old is not None and old.alive(now) else 0
            if present != expected_stamp:
                return None
            stamp = self._next_stamp()
            usage = self._usage_of(namespace)
            usage = self._put(namespace, name, old, usage, stamp, value, None, expires_at)
            usages[namespace] = self._checked(namespace, usage, now)
        return stamp

    def _row(self, namespace: Namespace, name: str) -> _Row | None:
        found = self._execute(_SELECT_SHORT, (*namespace, name)).fetchone()
        return None if found is None else _Row(*found)

    def _put(
        self,
        namespace: Namespace,
        name: str,
        old: _Row | None,
        usage: Usage,
        stamp: int,
        value: bytes | None,
        number: int | float | None,
        expires_at: float | None,
    ) -> Usage:
        """Write over `old`, or anew, and return the usage after it."""
        size = size_of(self._quota, namespace, name, value)
        if old is None:
            self._execute(_INSERT, (stamp, size, expires_at, number, value, *namespace, name))
            return Usage(usage.names + 1, usage.bytes + size)
        self._execute(_UPDATE, (stamp, size, expires_at, number, value, old.id))
        return Usage(usage.names, usage.bytes - old.size + size)

    def _usage_of(self, namespace: Namespace) -> Usage:
        """Return the usage; counted once per process, then carried along."""
        usage = self._usage.get(namespace)
        if usage is None:
            usage = self._usage[namespace] = Usage(*self._execute(_USAGE, namespace).fetchone())
        return usage

    def _checked(self, namespace: Namespace, after: Usage, now: float) -> Usage:
        """Return the usage of a namespace with its expired names gone, if that is needed to fit.

        Raises `MemoryQuotaExceeded`, unless the transaction only made the namespace smaller.
        """
        before = self._usage_of(namespace)
        if fits(self._quota, before, after):
            return after
        gone = self._execute(
            "DELETE FROM items WHERE project = ? AND deployment = ? AND expires_at <= ?",
            (*namespace, now),
        )
        if gone.rowcount:
            after = Usage(*self._execute(_USAGE, namespace).fetchone())
        if not fits(self._quota, before, after):
            raise too_full(self._quota, namespace, after)
        return after

    def names(self, namespace: Namespace, now: float) -> list[str]:
        """Return the names in a namespace, sorted."""
        query = (
            "SELECT name FROM items WHERE project = ? AND deployment = ?"
            " AND (expires_at IS NULL OR expires_at > ?)"
        )
        try:
            return sorted(row[0] for row in self._execute(query, (*namespace, now)))
        except sqlite3.Error as error:
            raise database_failure(error, self._path) from error

    def clear(self, namespace: Namespace) -> None:
        """Forget a namespace."""
        with self._transaction() as usages:
            self._execute("DELETE FROM items WHERE project = ? AND deployment = ?", namespace)
            usages[namespace] = Usage(0, 0)

    def purge(self, now: float) -> int:
        """Delete what has expired; return how many names."""
        with self._transaction():
            gone = self._execute("DELETE FROM items WHERE expires_at <= ?", (now,)).rowcount
        if gone:
            self._usage.clear()
        return gone

    def close(self) -> None:
        """Close the store."""
        self._db.close()
