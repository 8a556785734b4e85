"""Statements that `sql_runs` is made of: add, claim, end, take back.

Each runs inside the caller's transaction on the caller's connection, on any SQL database.
"""

from __future__ import annotations

import os
from dataclasses import replace

import sqlalchemy as sa

from penstock.core.insight_records import RunCursor, RunFilter
from penstock.core.run_records import Name, NewRun, Outcome, RunRecord
from penstock.core.states import TERMINAL_RUN_STATES, RunState, states_before
from penstock.stores import run_rows as rows
from penstock.stores.schema import runs, webhook_deliveries

Condition = sa.ColumnElement[bool]


def this_attempt(run_id: str, attempt: int) -> tuple[Condition, ...]:
    """Return the conditions under which what an attempt reports is believed."""
    return (
        runs.c.run_id == run_id,
        runs.c.attempt == attempt,
        runs.c.state == RunState.RUNNING.value,
    )


def may_become(state: RunState) -> Condition:
    """Return the condition that a run may move to `state`."""
    return runs.c.state.in_(sorted(old.value for old in states_before(state)))


def conditions(wanted: RunFilter, before: RunCursor | None) -> list[Condition]:
    """Return the conditions that pick the runs of a list."""
    asked = (
        (runs.c.deployment.__eq__, wanted.deployment),
        (runs.c.version.__eq__, wanted.version),
        (runs.c.created_at.__ge__, wanted.since),
        (runs.c.created_at.__lt__, wanted.until),
        (runs.c.run_time_ms.__ge__, wanted.min_ms),
        (runs.c.run_time_ms.__le__, wanted.max_ms),
    )
    found: list[Condition] = [runs.c.project == wanted.project]
    found += [condition(value) for condition, value in asked if value is not None]
    if wanted.only is not None:
        found.append(runs.c.deployment.in_(wanted.only))
    if wanted.states:
        found.append(runs.c.state.in_([state.value for state in wanted.states]))
    if wanted.code is not None:  # errors are kept as JSON that begins with the code
        ended_badly = (RunState.FAILED.value, RunState.CANCELLED.value)
        found.append(runs.c.state.in_(ended_badly))  # which the index has, unlike errors
        found.append(runs.c.error.startswith(f'{{"code":"{wanted.code}"', autoescape=True))
    if before is not None:
        found.append(sa.tuple_(runs.c.created_at, runs.c.run_id) < sa.tuple_(*before))
    return found


def queued(name: Name) -> tuple[Condition, ...]:
    """Return the conditions that pick the queued runs of a deployment."""
    return (
        runs.c.state == RunState.QUEUED.value,
        runs.c.project == name[0],
        runs.c.deployment == name[1],
    )


def add(connection: sa.Connection, new: NewRun) -> RunRecord:
    """Insert a run, or return the older one of the same idempotency key."""
    if new.idempotency_key is not None:
        same = (
            runs.c.project == new.project,
            runs.c.deployment == new.deployment,
            runs.c.idempotency_key == new.idempotency_key,
        )
        older = connection.execute(sa.select(*rows.SUMMARY).where(*same)).first()
        if older is not None:
            return rows.summary(older)
    connection.execute(runs.insert().values(**rows.new_values(new)))
    this = runs.c.run_id == new.run_id
    return rows.summary(connection.execute(sa.select(*rows.SUMMARY).where(this)).one())


def claim(
    connection: sa.Connection,
    name: Name,
    due: Condition,
    most: int,
    owner: str,
    now: float,
    lease_until: float,
) -> list[RunRecord]:
    """Take up to `most` due runs of one deployment."""
    query = (
        sa.select(runs)
        .where(*queued(name), due)
        .order_by(runs.c.rank, runs.c.seq)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [
        _take(connection, rows.run(row), owner, now, lease_until)
        for row in connection.execute(query).all()
    ]


def _take(
    connection: sa.Connection, old: RunRecord, owner: str, now: float, lease_until: float
) -> RunRecord:
    taken = replace(
        old,
        state=RunState.RUNNING,
        attempt=old.attempt + 1,
        owner=owner,
        lease_until=lease_until,
        started_at=now,
    )
    changed = ("attempt", "owner", "lease_until", "started_at")
    values = {name: getattr(taken, name) for name in changed}
    connection.execute(
        runs.update().where(runs.c.seq == old.seq).values(state=taken.state.value, **values)
    )
    return taken


def next_due(connection: sa.Connection, name: Name) -> float | None:
    """Return when the next queued run of a deployment is due; None if it has none."""
    return connection.execute(sa.select(sa.func.min(runs.c.due_at)).where(*queued(name))).scalar()


def end(
    connection: sa.Connection, this: tuple[Condition, ...], outcome: Outcome
) -> RunRecord | None:
    """End an attempt if the run is as `this` says; return the run as it now is, else None.

    The delivery to a webhook is added here, so that no end is without one.
    """
    row = connection.execute(sa.select(*rows.SUMMARY).where(*this).with_for_update()).first()
    if row is None:
        return None
    values = rows.outcome_values(outcome)
    connection.execute(runs.update().where(runs.c.seq == row.seq).values(**values))
    if row.webhook_url is not None and outcome.state in TERMINAL_RUN_STATES:
        _add_delivery(connection, row, outcome.at)
    now = connection.execute(sa.select(runs).where(runs.c.seq == row.seq)).one()
    return rows.run(now)


def _add_delivery(connection: sa.Connection, row: rows.Row, at: float) -> None:
    connection.execute(
        webhook_deliveries.insert().values(
            id=f"msg_{os.urandom(16).hex()}",
            project=row.project,
            deployment=row.deployment,
            run_id=row.run_id,
            url=row.webhook_url,
            state="pending",
            attempt=0,
            next_attempt_at=at,
            created_at=at,
        )
    )


def take_back(
    connection: sa.Connection, old: RunRecord, now: float, max_crashes: int, error: bytes
) -> RunRecord | None:
    """Queue a run whose holder is gone, or fail it: then it is returned."""
    this = this_attempt(old.run_id, old.attempt)
    crashes = {"crashes": runs.c.crashes + 1}
    connection.execute(runs.update().where(*this).values(**crashes))
    if old.crashes + old.worker_deaths + 1 >= max_crashes:
        outcome = Outcome(old.run_id, old.attempt, RunState.FAILED, now, error=error)
        return end(connection, this, outcome)
    end(connection, this, Outcome(old.run_id, old.attempt, RunState.QUEUED, now))
    return None


def purgeable(connection: sa.Connection, finished_before: float, keep: int) -> list[str]:
    """Return the ids of finished runs that may be forgotten."""
    finished = runs.c.finished_at.isnot(None)
    newest = sa.select(runs.c.finished_at).where(finished).order_by(runs.c.finished_at.desc())
    last_kept = connection.execute(newest.offset(keep).limit(1)).scalar()
    limit = finished_before if last_kept is None else max(finished_before, last_kept + 1e-6)
    to_tell = sa.select(webhook_deliveries.c.run_id).where(webhook_deliveries.c.state == "pending")
    query = sa.select(runs.c.run_id).where(
        finished, runs.c.finished_at < limit, runs.c.run_id.not_in(to_tell)
    )
    return list(connection.execute(query).scalars())
