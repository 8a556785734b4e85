"""Rows of the table `runs` to records, and back; called by `sql_runs` only.

Pure functions: the same for every SQL database.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from penstock.core.run_records import NewRun, Outcome, Payload, ReplicaId, RunRecord
from penstock.core.states import RunState
from penstock.stores.schema import runs

Row = sa.Row[Any]

#: Every column but the two that may be large.
SUMMARY = [column for column in runs.c if column.name not in {"input", "result"}]


def run(row: Row) -> RunRecord:
    """Return the run in a whole row."""
    result = None
    if row.result_size is not None:
        result = _payload(row.result, row.result_sha256, row.result_size)
    return _record(row, _payload(row.input, row.input_sha256, row.input_size), result)


def summary(row: Row) -> RunRecord:
    """Return the run in a row of `SUMMARY`, without payloads."""
    return _record(row, None, None)


def _payload(inline: Any, sha256: str | None, size: int) -> Payload:
    return Payload(None if inline is None else bytes(inline), sha256, size)


def _record(row: Row, sent: Payload | None, result: Payload | None) -> RunRecord:
    return RunRecord(
        seq=row.seq,
        run_id=row.run_id,
        project=row.project,
        deployment=row.deployment,
        key_id=row.key_id,
        state=RunState(row.state),
        priority=-row.rank,
        attempt=row.attempt,
        worker_deaths=row.worker_deaths,
        crashes=row.crashes,
        media_type=row.media_type,
        timeout_s=row.timeout_s,
        webhook_url=row.webhook_url,
        idempotency_key=row.idempotency_key,
        request_digest=bytes(row.request_digest),
        created_at=row.created_at,
        due_at=row.due_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        owner=row.owner,
        lease_until=row.lease_until,
        version=row.version,
        run_time_ms=row.run_time_ms,
        points=row.points,
        server_timing=row.server_timing,
        input=sent,
        result=result,
        error=None if row.error is None else json.loads(row.error),
        traceparent=row.traceparent or "",
        replica=None if row.replica is None else ReplicaId(row.replica, row.replica_pid),
    )


def new_values(new: NewRun) -> dict[str, Any]:
    """Return the columns of a run that is accepted."""
    return {
        "run_id": new.run_id,
        "project": new.project,
        "deployment": new.deployment,
        "key_id": new.key_id,
        "state": RunState.QUEUED.value,
        "rank": -new.priority,
        "attempt": 0,
        "worker_deaths": 0,
        "crashes": 0,
        "media_type": new.media_type,
        "timeout_s": new.timeout_s,
        "webhook_url": new.webhook_url,
        "idempotency_key": new.idempotency_key,
        "request_digest": new.request_digest,
        "traceparent": new.traceparent or None,
        "created_at": new.created_at,
        "due_at": 0.0,
        "points": 0,
        "server_timing": "",
        "input": new.input.inline,
        "input_sha256": new.input.sha256,
        "input_size": new.input.size,
    }


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """Return the columns that the end of an attempt changes."""
    ended = outcome.state is not RunState.QUEUED
    result = outcome.result
    return {
        "state": outcome.state.value,
        "owner": None,
        "lease_until": None,
        "due_at": outcome.due_at,
        "finished_at": outcome.at if ended else None,
        "version": outcome.version,
        "run_time_ms": outcome.run_time_ms,
        "points": outcome.points,
        "server_timing": outcome.server_timing,
        "result": None if result is None else result.inline,
        "result_sha256": None if result is None else result.sha256,
        "result_size": None if result is None else result.size,
        "error": None if outcome.error is None else outcome.error.decode("utf-8"),
        "worker_deaths": runs.c.worker_deaths + outcome.worker_deaths,
        "replica": None if outcome.replica is None else outcome.replica.number,
        "replica_pid": None if outcome.replica is None else outcome.replica.pid,
    }
