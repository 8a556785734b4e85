"""A run as people and programs see it: JSON with the result inserted as the worker wrote it.

Called by the run routes; the webhook sender tells of the end of a run in the same form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.control.run_outcomes import without_traceback
from penstock.core.run_records import RunRecord


class RunView(msgspec.Struct, frozen=True):
    """A run. `result` is there once it succeeded, `error` once it failed.

    Times are seconds since the epoch; `started_at` is that of the latest attempt, `attempt` how
    many there were, `run_time_ms` the milliseconds inside the server of the one that succeeded.
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
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    result: Any = msgspec.UNSET


class RunSummary(msgspec.Struct, frozen=True):
    """A run in a list."""

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
    error_code: str | None


class RunList(msgspec.Struct, frozen=True):
    """Runs, newest first. `next` is the `before` of the following page, None on the last."""

    runs: list[RunSummary]
    next: int | None


def run_json(record: RunRecord, result: bytes | None, *, with_traceback: bool = False) -> bytes:
    """Return a run as JSON.

    Args:
        record: The run.
        result: The bytes of its result, when it succeeded: inserted unchanged.
        with_traceback: Whether the reader may see user code's traceback.
    """
    error = record.error if with_traceback else without_traceback(record.error)
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
        error=msgspec.UNSET if error is None else error,
        result=msgspec.UNSET if result is None else msgspec.Raw(result),
    )
    return msgspec.json.encode(view)


def run_list(records: Sequence[RunRecord], limit: int) -> RunList:
    """Return a page of runs of which at most `limit` were asked for."""
    full = len(records) == limit
    return RunList([_summary(r) for r in records], records[-1].seq if records and full else None)


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(
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
        error_code=None if record.error is None else record.error.get("code"),
    )
