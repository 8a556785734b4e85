"""A run as people and programs see it: JSON with the result inserted as the worker wrote it.

Called by the run routes; the webhook sender tells of the end of a run in the same form.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.control.concealed import told_to_readers
from penstock.core.insight_records import CallRecord
from penstock.core.run_records import ReplicaId, RunRecord


class RunView(msgspec.Struct, frozen=True):
    """A run. `result` is there once it succeeded, `error` once it failed.

    Times are seconds since the epoch; `started_at` is that of the latest attempt, `attempt` how
    many there were, `run_time_ms` the milliseconds inside the server of the one that succeeded.
    `replica` is which one answered, null if none did: its number in its version, its process.
    """

    run_id: str
    deployment: str
    version: int | None
    state: str
    attempt: int
    priority: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    run_time_ms: float | None
    prediction_ids: list[str]
    server_timing: str
    replica: ReplicaId | None
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    result: Any = msgspec.UNSET


def run_json(record: RunRecord, result: bytes | None, *, with_traceback: bool = False) -> bytes:
    """Return a run as JSON.

    Args:
        record: The run.
        result: The bytes of its result, when it succeeded: inserted unchanged.
        with_traceback: Whether the reader may see user code's traceback.
    """
    error = record.error if with_traceback else told_to_readers(record.error)
    view = RunView(
        run_id=record.run_id,
        deployment=record.deployment,
        version=record.version,
        state=record.state.value,
        attempt=record.attempt,
        priority=record.priority,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        run_time_ms=record.run_time_ms,
        prediction_ids=[f"{record.run_id}-{number}" for number in range(record.points)],
        server_timing=record.server_timing,
        replica=record.replica,
        error=msgspec.UNSET if error is None else error,
        result=msgspec.UNSET if result is None else msgspec.Raw(result),
    )
    return msgspec.json.encode(view)


def call_json(call: CallRecord, *, with_traceback: bool = False) -> bytes:
    """Return a kept synchronous call as JSON, in the form of a run.

    Its result is there when the whole of it is kept.
    """
    error = None if call.error is None else msgspec.json.decode(call.error)
    whole = call.result is not None and not call.result_cut
    view = RunView(
        run_id=call.run_id,
        deployment=call.deployment,
        version=call.version,
        state=call.state.value,
        attempt=1,
        priority=0,
        created_at=call.created_at,
        started_at=call.created_at,
        finished_at=call.created_at + call.run_time_ms / 1e3,
        run_time_ms=call.run_time_ms,
        prediction_ids=[f"{call.run_id}-{number}" for number in range(call.points)],
        server_timing=call.server_timing,
        replica=call.replica,
        error=msgspec.UNSET
        if error is None
        else (error if with_traceback else told_to_readers(error) or {}),
        result=msgspec.Raw(call.result) if whole and call.result else msgspec.UNSET,
    )
    return msgspec.json.encode(view)
