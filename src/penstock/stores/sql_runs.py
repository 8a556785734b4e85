"""`RunStore` through SQLAlchemy Core; used from the database thread only.

The statements are plain Core, the same for SQLite and PostgreSQL. The transaction is the record
store's, because both use its one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa

from penstock.core.faults import fault, skipped
from penstock.core.insight_records import RunCursor, RunFilter
from penstock.core.run_records import (
    Claims,
    Name,
    NewRun,
    Outcome,
    Reclaimed,
    RunRecord,
)
from penstock.core.states import TERMINAL_RUN_STATES, RunState
from penstock.stores import run_queries as queries
from penstock.stores import run_rows as rows
from penstock.stores.base import FARTHEST_RETRY_S
from penstock.stores.schema import runs, webhook_deliveries


class SqlRuns:
    """Runs in the records database. See `RunStore` for what each method promises.

    Args:
        transaction: Opens a transaction that is durable once its block ends.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._transaction = transaction

    def add(self, new: Sequence[NewRun]) -> Sequence[RunRecord]:
        """Remember runs as `queued`; an idempotency key used before gives the older run."""
        fault("run.adding")
        with self._transaction() as connection:
            return [queries.add(connection, one) for one in new]

    def get(self, run_id: str) -> RunRecord | None:
        """Return a run with its payloads, or None."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).first()
            return None if row is None else rows.run(row)

    def find(
        self, wanted: RunFilter, limit: int, before: RunCursor | None = None
    ) -> Sequence[RunRecord]:
        """Return runs without payloads, newest first, after a place in that order."""
        order = (runs.c.created_at.desc(), runs.c.run_id.desc())
        where = queries.conditions(wanted, before)
        found = sa.select(runs.c.seq).where(*where).order_by(*order).limit(limit)
        query = sa.select(*rows.SUMMARY).where(runs.c.seq.in_(found)).order_by(*order)
        with self._transaction() as connection:
            return [rows.summary(row) for row in connection.execute(query)]

    def waiting(self) -> Sequence[Name]:
        """Return the deployments that have queued runs."""
        query = sa.select(runs.c.project, runs.c.deployment).distinct()
        with self._transaction() as connection:
            found = connection.execute(query.where(runs.c.state == RunState.QUEUED.value))
            return [(row.project, row.deployment) for row in found]

    def open_runs(self) -> int:
        """Return how many runs are queued or running."""
        open_states = [s.value for s in RunState if s not in TERMINAL_RUN_STATES]
        query = sa.select(sa.func.count()).where(runs.c.state.in_(open_states))
        with self._transaction() as connection:
            return connection.execute(query).scalar_one()

    def claim(self, owner: str, room: Mapping[Name, int], now: float, lease_s: float) -> Claims:
        """Take due runs: highest priority, then oldest, first."""
        due = sa.or_(runs.c.due_at <= now, runs.c.due_at > now + FARTHEST_RETRY_S)
        taken = []
        later: dict[Name, float | None] = {}
        with self._transaction() as connection:
            for name, most in room.items():
                found = queries.claim(connection, name, due, most, owner, now, now + lease_s)
                taken += found
                if len(found) < most:
                    later[name] = queries.next_due(connection, name)
            fault("run.claiming")
        return Claims(taken, later)

    def renew(
        self, held: Sequence[tuple[str, int]], lease_until: float
    ) -> Sequence[tuple[str, int]]:
        """Extend leases; return those that are no longer held."""
        lost = []
        with self._transaction() as connection:
            for run_id, attempt in held:
                done = connection.execute(
                    runs.update()
                    .where(*queries.this_attempt(run_id, attempt))
                    .values(lease_until=lease_until)
                )
                if not done.rowcount:
                    lost.append((run_id, attempt))
        return lost

    def finish(self, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        """Record the ends of attempts; for each, whether the attempt was still the run's own."""
        with self._transaction() as connection:
            told = [self._finish(connection, outcome) for outcome in outcomes]
            fault("run.finishing")
        return told

    def _finish(self, connection: sa.Connection, outcome: Outcome) -> bool:
        this = queries.this_attempt(outcome.run_id, outcome.attempt)
        if skipped("run.attempt-check"):
            this = (runs.c.run_id == outcome.run_id,)
        return queries.end(connection, this, outcome) is not None

    def reclaim(
        self, now: float, sole_owner: str | None, max_crashes: int, error: bytes
    ) -> Reclaimed:
        """Take back running runs whose lease is over, or whose holder cannot be alive."""
        gone = runs.c.lease_until < now
        if sole_owner is not None:
            gone = sa.or_(gone, runs.c.owner != sole_owner)
        query = sa.select(*rows.SUMMARY).where(runs.c.state == RunState.RUNNING.value, gone)
        back = Reclaimed(set(), [])
        with self._transaction() as connection:
            for row in connection.execute(query.with_for_update()).all():
                old = rows.summary(row)
                ended = queries.take_back(connection, old, now, max_crashes, error)
                if ended is None:
                    back.requeued.add(old.name)
                else:
                    back.failed.append(ended)
            fault("run.reclaiming")
        return back

    def release(self, owner: str, held: Collection[tuple[str, int]]) -> set[Name]:
        """Queue again what `owner` has claimed and does not know of; return whose runs they are."""
        known, back = set(held), set()
        theirs = (runs.c.state == RunState.RUNNING.value, runs.c.owner == owner)
        with self._transaction() as connection:
            for row in connection.execute(sa.select(*rows.SUMMARY).where(*theirs)).all():
                if (row.run_id, row.attempt) not in known:
                    this = queries.this_attempt(row.run_id, row.attempt)
                    again = Outcome(row.run_id, row.attempt, RunState.QUEUED, 0.0)
                    queries.end(connection, this, again)
                    back.add((row.project, row.deployment))
        return back

    def cancel(self, run_id: str, now: float) -> RunRecord | None:
        """Make a run `cancelled` unless it is at its end; return it as it now is, or None."""
        this = runs.c.run_id == run_id
        with self._transaction() as connection:
            row = connection.execute(sa.select(runs).where(this).with_for_update()).first()
            if row is None:
                return None
            outcome = Outcome(run_id, row.attempt, RunState.CANCELLED, now, version=row.version)
            ended = queries.end(connection, (this, queries.may_become(outcome.state)), outcome)
            return rows.run(row) if ended is None else ended

    def fail_queued(self, name: Name, error: bytes, now: float) -> Sequence[RunRecord]:
        """Make the queued runs of a deployment `failed`; return them."""
        failed = []
        with self._transaction() as connection:
            query = sa.select(runs.c.run_id, runs.c.attempt).where(*queries.queued(name))
            for row in connection.execute(query.with_for_update()).all():
                outcome = Outcome(row.run_id, row.attempt, RunState.FAILED, now, error=error)
                ended = queries.end(connection, (runs.c.run_id == row.run_id,), outcome)
                if ended is not None:
                    failed.append(ended)
        return failed

    def purge(self, finished_before: float, keep: int) -> int:
        """Forget finished runs: those before a time, and all but the `keep` newest."""
        with self._transaction() as connection:
            old = queries.purgeable(connection, finished_before, keep)
            for start in range(0, len(old), 500):
                some = old[start : start + 500]
                connection.execute(
                    webhook_deliveries.delete().where(webhook_deliveries.c.run_id.in_(some))
                )
                connection.execute(runs.delete().where(runs.c.run_id.in_(some)))
        return len(old)

    def blobs(self) -> Sequence[str]:
        """Return the SHA-256 of every blob that an input or result is kept in."""
        names: set[str] = set()
        with self._transaction() as connection:
            for column in (runs.c.input_sha256, runs.c.result_sha256):
                names.update(
                    connection.execute(sa.select(column).where(column.isnot(None))).scalars()
                )
        return sorted(names)
