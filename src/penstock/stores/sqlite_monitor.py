"""Watched deployments in the insight file: their references, predictions, truths and profiles.

Made by `sqlite_insight`, which opens the file; used from its thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from penstock.core.monitor_records import Feedback, Prediction, Profile, Quality

TABLES = """
CREATE TABLE monitors (
    project TEXT NOT NULL, deployment TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (project, deployment)
) WITHOUT ROWID;
CREATE TABLE profiles (
    project TEXT NOT NULL, deployment TEXT NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (project, deployment, start)
) WITHOUT ROWID;
CREATE TABLE predictions (
    id INTEGER PRIMARY KEY, prediction_id TEXT NOT NULL, project TEXT NOT NULL,
    deployment TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL, output TEXT NOT NULL
);
CREATE UNIQUE INDEX predictions_by_id ON predictions (prediction_id);
CREATE TABLE feedback (
    prediction_id TEXT PRIMARY KEY, project TEXT NOT NULL, deployment TEXT NOT NULL,
    version INTEGER NOT NULL, at REAL NOT NULL, output TEXT NOT NULL, given_at REAL NOT NULL,
    truth TEXT NOT NULL, correct INTEGER, difference REAL
) WITHOUT ROWID;
CREATE INDEX feedback_by_time ON feedback (project, deployment, at);
"""

#: Tables whose rows belong to a deployment: those that may be large with their keys, the others.
MANY_OF_DEPLOYMENTS = (("predictions", "id"), ("feedback", "prediction_id"))
FEW_OF_DEPLOYMENTS = ("monitors", "profiles")

_PREDICTION = "prediction_id, project, deployment, version, at, output"
_INSERT = f"INSERT OR IGNORE INTO predictions ({_PREDICTION}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


class SqliteMonitor:
    """See `penstock.stores.insight_base.MonitorStore`.

    Args:
        transaction: Opens a transaction of the file.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, project: str, deployment: str, data: bytes | None) -> None:
        """Remember how a deployment is watched; None: not any more, its profiles go."""
        with self._transaction() as db:
            if data is not None:
                db.execute(
                    "INSERT OR REPLACE INTO monitors VALUES (?, ?, ?)", (project, deployment, data)
                )
                return
            for table in ("monitors", "profiles"):
                db.execute(
                    f"DELETE FROM {table} WHERE project = ? AND deployment = ?",  # noqa: S608
                    (project, deployment),
                )

    def all(self) -> Sequence[tuple[str, str, bytes]]:
        """Return how every watched deployment is watched."""
        with self._transaction() as db:
            return db.execute("SELECT project, deployment, data FROM monitors").fetchall()

    def add(self, profiles: Sequence[Profile], predictions: Sequence[Prediction]) -> None:
        """Keep profiles, replacing those of the same start, and predictions."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?)", profiles)
            db.executemany(
                _INSERT,
                [
                    (p.prediction_id, p.project, p.deployment, p.version, p.at, p.output)
                    for p in predictions
                ],
            )

    def profiles(self, project: str, deployment: str, since: float) -> Sequence[Profile]:
        """Return the profiles that begin at `since` or later, by time."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT * FROM profiles WHERE project = ? AND deployment = ? AND start >= ?"
                " ORDER BY start",
                (project, deployment, since),
            )
            return [Profile(*row) for row in found]

    def predictions(self, ids: Sequence[str]) -> dict[str, Prediction]:
        """Return predictions by their ids, those that are known."""
        found: dict[str, Prediction] = {}
        with self._transaction() as db:
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                marks = ", ".join("?" * len(some))
                query = f"SELECT {_PREDICTION} FROM predictions WHERE prediction_id IN ({marks})"  # noqa: S608
                found.update((row[0], Prediction(*row)) for row in db.execute(query, some))
        return found

    def give(self, truths: Sequence[Feedback]) -> None:
        """Keep truths; one that was told before is replaced."""
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_feedback_values(told) for told in truths],
            )

    def quality(
        self, project: str, deployment: str, since: float, step_s: int
    ) -> Sequence[Quality]:
        """Return how good predictions were, by version and steps of the time they were made."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT version, CAST(at / ?3 AS INTEGER) * ?3 AS start, COUNT(*), COUNT(correct),"
                " TOTAL(correct), COUNT(difference), TOTAL(difference) FROM feedback"
                " WHERE project = ?1 AND deployment = ?2 AND at >= ?4"
                " GROUP BY version, start ORDER BY start, version",
                (project, deployment, step_s, since),
            )
            return [Quality(v, s, n, a, int(b), c, d) for v, s, n, a, b, c, d in found]

    def truths(self, run_id: str) -> dict[str, tuple[str, bool | None]]:
        """Return the truths of a run's predictions by their ids, and whether they were met."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT prediction_id, truth, correct FROM feedback"
                " WHERE prediction_id >= ? AND prediction_id < ?",
                (f"{run_id}-", f"{run_id}."),
            )
            return {i: (truth, None if c is None else bool(c)) for i, truth, c in found}

    def purge(self, predictions: int, since: float) -> None:
        """Keep the newest predictions, and truths and profiles from `since` on."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM predictions WHERE id <= (SELECT MAX(id) FROM predictions) - ?",
                (predictions,),
            )
            db.execute("DELETE FROM feedback WHERE at < ?", (since,))
            db.execute("DELETE FROM profiles WHERE start < ?", (since,))


def _feedback_values(told: Feedback) -> tuple[object, ...]:
    about = told.prediction
    return (
        about.prediction_id,
        about.project,
        about.deployment,
        about.version,
        about.at,
        about.output,
        told.given_at,
        told.truth,
        told.correct,
        told.difference,
    )
