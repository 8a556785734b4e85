"""`InsightStore` in a SQLite file of its own; used from one thread.

A commit survives a crash of the server (`synchronous=NORMAL`). Plain `sqlite3` instead of
SQLAlchemy: a busy server writes hundreds of rows a second here and nothing else depends on it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.core.insight_records import (
    Alike,
    CallRecord,
    LogFilter,
    LogLine,
    RunCursor,
    RunFilter,
    StoredPoint,
    Switch,
    VersionTotal,
)
from penstock.stores import insight_rows as rows
from penstock.stores import sqlite_monitor
from penstock.stores.damage import means_damage, set_aside
from penstock.stores.failures import database_failure
from penstock.stores.insight_base import Batch, Limits, MonitorStore
from penstock.stores.sqlite_engine import make_private, set_up

log = logging.getLogger("penstock.insight")

SCHEMA = 2

_TABLES = """
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, project TEXT NOT NULL, deployment TEXT NOT NULL,
    version INTEGER NOT NULL, key_id TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    run_time_ms REAL NOT NULL, media_type TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    points INTEGER NOT NULL, server_timing TEXT NOT NULL, code TEXT, input_cut INTEGER NOT NULL,
    result_cut INTEGER NOT NULL, replica INTEGER, replica_pid INTEGER,
    error TEXT, input BLOB, result BLOB
);
CREATE UNIQUE INDEX calls_by_run ON calls (run_id);
CREATE INDEX calls_by_state ON calls (state, id);
CREATE TABLE lines (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, deployment TEXT NOT NULL,
    version INTEGER NOT NULL, run_id TEXT, at REAL NOT NULL, stage INTEGER NOT NULL,
    function TEXT NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX lines_by_run ON lines (run_id, seq) WHERE run_id IS NOT NULL;
CREATE INDEX lines_by_deployment ON lines (project, deployment, seq);
CREATE TABLE points (
    step_s INTEGER NOT NULL, project TEXT NOT NULL, deployment TEXT NOT NULL,
    version INTEGER NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (step_s, project, deployment, version, start)
) WITHOUT ROWID;
CREATE INDEX points_by_start ON points (step_s, start);
CREATE TABLE totals (
    project TEXT NOT NULL, deployment TEXT NOT NULL, version INTEGER NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, time_ms REAL NOT NULL, last_at REAL NOT NULL,
    PRIMARY KEY (project, deployment, version)
) WITHOUT ROWID;
CREATE TABLE switches (
    project TEXT NOT NULL, deployment TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL
);
CREATE INDEX switches_by_deployment ON switches (project, deployment, at);
"""

#: What turns a file of an older schema into one of the next.
_STEPS = {
    1: "ALTER TABLE calls ADD COLUMN replica INTEGER;"
    " ALTER TABLE calls ADD COLUMN replica_pid INTEGER;",
}

_TOTAL = """
INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors,
    time_ms = time_ms + excluded.time_ms, last_at = excluded.last_at
"""

#: Tables whose rows belong to a deployment: those that may be large with their keys, the others.
_MANY_OF_DEPLOYMENTS = (("calls", "id"), ("lines", "seq"), *sqlite_monitor.MANY_OF_DEPLOYMENTS)
_FEW_OF_DEPLOYMENTS = ("points", "totals", "switches", *sqlite_monitor.FEW_OF_DEPLOYMENTS)

#: Rows of such a table that one transaction deletes.
_AT_ONCE = 10_000

#: Rows that one pass deletes when the file is too large, as a share of the table.
_SHARE = 0.1


class SqliteInsight:
    """What calls did, in one SQLite file. See `InsightStore` for what each method promises.

    Args:
        path: The file; created with mode 0600 if need be. A damaged one is set aside and begun
            anew: serving does not depend on it.

    Raises:
        StoreError: The file cannot be opened, is in use by another server, or was written by a
            later Penstock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: The watched deployments, in the same file.
        self.monitor: MonitorStore = sqlite_monitor.SqliteMonitor(self._transaction)
        try:
            self._open()
        except StoreError as error:
            if not means_damage(error.__cause__):
                raise
            aside = set_aside(path)
            log.error("%s It is now %s, and what it held begins anew.", error.message, aside)
            self._open()

    def _open(self) -> None:
        try:
            make_private(self._path)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise database_failure(error, self._path) from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with self._failures():
            set_up(self._db, synchronous="NORMAL")
            found: int = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found > SCHEMA:
                raise StoreError(
                    f"{self._path} has schema {found}; this Penstock knows schema {SCHEMA}.",
                    hint="Delete the file, or install the Penstock that wrote it.",
                )
            if found == 0:
                made = f"BEGIN;{_TABLES}{sqlite_monitor.TABLES}PRAGMA user_version={SCHEMA};COMMIT;"
                self._db.executescript(made)
            for schema in range(found, SCHEMA) if found else ():
                step = f"BEGIN;{_STEPS[schema]}PRAGMA user_version={schema + 1};COMMIT;"
                self._db.executescript(step)
            self._db.executescript(rows.INDEXES)  # later ones come to older files, too

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise database_failure(error, self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._failures():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def write(self, batch: Batch) -> None:
        """Keep what happened."""
        with self._transaction() as db:
            db.executemany(rows.INSERT_CALL, map(rows.call_values, batch.calls))
            db.executemany(rows.INSERT_LINE, map(rows.line_values, batch.lines))
            db.executemany(
                "INSERT OR REPLACE INTO points"
                " (project, deployment, version, step_s, start, data) VALUES (?, ?, ?, ?, ?, ?)",
                batch.points,
            )
            db.executemany(_TOTAL, map(rows.total_values, batch.totals))
            db.executemany("INSERT INTO switches VALUES (?, ?, ?, ?)", batch.switches)

    def calls(
        self, wanted: RunFilter, limit: int, before: RunCursor | None
    ) -> Sequence[CallRecord]:
        """Return kept calls without input, result and error, newest first, after a place."""
        where, values = rows.call_conditions(wanted, before)
        query = (
            f"SELECT {rows.SUMMARY}, NULL, NULL, NULL FROM calls WHERE id IN"  # noqa: S608
            f" (SELECT id FROM calls INDEXED BY {rows.index_for(wanted)} WHERE {where}"
            " ORDER BY created_at DESC, run_id DESC LIMIT ?)"
            " ORDER BY created_at DESC, run_id DESC"
        )
        with self._failures():
            return [rows.call(row) for row in self._db.execute(query, (*values, limit))]

    def call(self, run_id: str) -> CallRecord | None:
        """Return one kept call, or None."""
        query = f"SELECT {rows.SUMMARY}, error, input, result FROM calls WHERE run_id = ?"  # noqa: S608
        with self._failures():
            row = self._db.execute(query, (run_id,)).fetchone()
        return None if row is None else rows.call(row)

    def alike(self, run_id: str, since: float, most: int) -> Sequence[Alike]:
        """Return which versions failed for the cause that a kept call failed for."""
        with self._failures():
            found = self._db.execute(rows.ALIKE, {"run": run_id, "since": since, "most": most})
            return [Alike(*row) for row in found]

    def lines(
        self, wanted: LogFilter, limit: int, *, after: int | None = None, before: int | None = None
    ) -> Sequence[LogLine]:
        """Return log lines in the order they came."""
        where, values = rows.line_conditions(wanted, after, before)
        order = "ASC" if after is not None else "DESC"
        query = f"SELECT {rows.LINE} FROM lines WHERE {where} ORDER BY seq {order} LIMIT ?"  # noqa: S608
        with self._failures():
            found = [rows.line(row) for row in self._db.execute(query, (*values, limit))]
        return found if after is not None else found[::-1]

    def points(
        self, step_s: int, since: float, project: str | None, deployment: str | None
    ) -> Sequence[StoredPoint]:
        """Return points of one step that start at `since` or later, by time."""
        where, values = ["step_s = ?", "start >= ?"], [step_s, since]
        for name, value in (("project", project), ("deployment", deployment)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)  # type: ignore[arg-type]
        query = (
            "SELECT project, deployment, version, step_s, start, data FROM points WHERE"  # noqa: S608
            f" {' AND '.join(where)} ORDER BY start"
        )
        with self._failures():
            return [StoredPoint(*row) for row in self._db.execute(query, values)]

    def totals(self, project: str, deployment: str) -> Sequence[VersionTotal]:
        """Return what the versions of a deployment have answered."""
        query = "SELECT * FROM totals WHERE project = ? AND deployment = ? ORDER BY version"
        with self._failures():
            return [VersionTotal(*row) for row in self._db.execute(query, (project, deployment))]

    def switches(self, project: str, deployment: str, since: float) -> Sequence[Switch]:
        """Return which version began to serve when, by time."""
        query = "SELECT * FROM switches WHERE project = ? AND deployment = ? AND at >= ?"
        values = (project, deployment, since)
        with self._failures():
            return [Switch(*row) for row in self._db.execute(f"{query} ORDER BY at", values)]

    def forget(self, project: str, deployment: str) -> bool:
        """Forget some of a deployment that was deleted; return whether more may be there."""
        this = "project = ? AND deployment = ?"
        with self._transaction() as db:
            for table, key in _MANY_OF_DEPLOYMENTS:
                query = (
                    f"DELETE FROM {table} WHERE {key} IN"  # noqa: S608
                    f" (SELECT {key} FROM {table} WHERE {this} LIMIT ?)"
                )
                found = db.execute(query, (project, deployment, _AT_ONCE))
                if found.rowcount == _AT_ONCE:
                    return True
            for table in _FEW_OF_DEPLOYMENTS:
                db.execute(f"DELETE FROM {table} WHERE {this}", (project, deployment))  # noqa: S608
        return False

    def purge(self, limits: Limits) -> None:
        """Forget what is old or too much."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM calls WHERE id IN"
                " (SELECT id FROM calls WHERE created_at < ? ORDER BY id LIMIT 100000)",
                (limits.calls_since,),
            )
            for state, keep in (("failed", limits.failures), ("succeeded", limits.successes)):
                db.execute(
                    "DELETE FROM calls WHERE state = ?1 AND id <= (SELECT id FROM calls"
                    " WHERE state = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                    (state, keep),
                )
            db.execute(
                "DELETE FROM lines WHERE seq <= (SELECT MAX(seq) FROM lines) - ?", (limits.lines,)
            )
            for step_s, since in limits.points_since.items():
                db.execute("DELETE FROM points WHERE step_s = ? AND start < ?", (step_s, since))
        while self._bytes() > limits.file_bytes and self._drop_oldest():
            continue

    def _bytes(self) -> int:
        """Return the bytes of the file that are in use."""
        asked = ("page_count", "freelist_count", "page_size")
        with self._failures():
            pages, free, size = (self._db.execute(f"PRAGMA {a}").fetchone()[0] for a in asked)
        used: int = (pages - free) * size
        return used

    def _drop_oldest(self) -> bool:
        """Forget a tenth of the calls and lines, the oldest; whether there were any."""
        dropped = 0
        with self._transaction() as db:
            for table, key in (("calls", "id"), ("lines", "seq")):
                count = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
                found = db.execute(
                    f"DELETE FROM {table} WHERE {key} IN"  # noqa: S608
                    f" (SELECT {key} FROM {table} ORDER BY {key} LIMIT ?)",
                    (int(count * _SHARE) + 1,),
                )
                dropped += found.rowcount
        return dropped > 0

    def close(self) -> None:
        """Close the file."""
        self._db.close()
