"""What the engine's answer means for a run: succeeded, failed, or another attempt.

Called by `run_executor`. What user code or a model says is final. What only happened to the run
(its worker died, no replica was ready, the queue was full, the disk was full) is tried again.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from penstock.codec.light import UNREADABLE
from penstock.codec.results import error_body
from penstock.control.run_payloads import RunPayloads
from penstock.core.errors import (
    DiskFull,
    InternalError,
    NotReady,
    Overloaded,
    PenstockError,
    StoreError,
    StoreUnavailable,
    WorkerDied,
)
from penstock.core.run_records import Outcome, RunRecord
from penstock.core.states import RunState
from penstock.engine.base import Answer

#: A run that was inside a worker when it died, this often, is taken for the cause.
MAX_WORKER_DEATHS = 3

#: Data points of a run that have ids: they are made up anew whenever somebody asks.
MOST_POINTS = 1_000_000

#: Pause before another attempt: doubled each time, from the first to the second (seconds).
BACKOFF_S = (0.5, 10.0)

_TRIED_AGAIN = frozenset(
    kind.code for kind in (WorkerDied, NotReady, Overloaded, StoreError, StoreUnavailable, DiskFull)
)


class _Envelope(msgspec.Struct):
    result: msgspec.Raw
    run_time_ms: float = 0.0
    prediction_ids: msgspec.Raw = msgspec.Raw(b"[]")


class _Refusal(msgspec.Struct):
    error: dict[str, Any]


def error_json(error: PenstockError) -> bytes:
    """Return an error as it is kept with a run, with the traceback."""
    return _read_error(error_body(error, None, True))


def _read_error(body: bytes | memoryview) -> bytes:
    """Return the error of an answer; read and written anew, for a worker may send anything."""
    return msgspec.json.encode(msgspec.json.decode(body, type=_Refusal).error)


def backoff_s(times: int) -> float:
    """Return seconds to wait before the attempt after `times` (at least 1) that came to nothing."""
    first, most = BACKOFF_S
    pause: float = min(most, first * 2 ** min(times - 1, 16))
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing


async def outcome_of(
    run: RunRecord,
    answer: Answer,
    version: int | None,
    payloads: RunPayloads,
    max_crashes: int,
    now: float,
) -> Outcome:
    """Return how an attempt ended.

    Args:
        run: The run as it was claimed.
        answer: The engine's.
        version: The version that was asked, if it came to that.
        payloads: Keeps a large result.
        max_crashes: Attempts the run may lose to deaths of workers and servers.
        now: Seconds since the epoch.

    Raises:
        StoreError: A large result could not be kept; ask again.
    """
    if not answer.code:
        return await _succeeded(run, answer, version, payloads, now)
    if answer.code in _TRIED_AGAIN:
        deaths = run.worker_deaths + (answer.code == WorkerDied.code)
        if deaths < MAX_WORKER_DEATHS and deaths + run.crashes < max_crashes:
            return _again(run, answer, version, now)
    return Outcome(
        run.run_id,
        run.attempt,
        RunState.FAILED,
        now,
        version=version,
        server_timing=answer.timing.decode("latin-1"),
        error=_error_of(answer),
        worker_deaths=int(answer.code == WorkerDied.code),
        replica=answer.replica,
    )


async def _succeeded(
    run: RunRecord, answer: Answer, version: int | None, payloads: RunPayloads, now: float
) -> Outcome:
    try:
        found = msgspec.json.decode(answer.body, type=_Envelope)
    except UNREADABLE:
        broken = InternalError("The worker's answer cannot be read.")
        told = Answer(broken.code, error=broken, replica=answer.replica)
        return await outcome_of(run, told, version, payloads, 0, now)
    return Outcome(
        run.run_id,
        run.attempt,
        RunState.SUCCEEDED,
        now,
        version=version,
        run_time_ms=found.run_time_ms,
        points=count_ids(found.prediction_ids),
        server_timing=answer.timing.decode("latin-1"),
        result=await payloads.keep(bytes(found.result)),
        replica=answer.replica,
    )


def count_ids(ids: msgspec.Raw) -> int:
    """Return the length of a list of ids without making it: it may be anything, of any size."""
    text = bytes(ids)
    if not text.startswith(b"[") or text == b"[]":
        return 0
    return min(text.count(b",") + 1, MOST_POINTS)


def _again(run: RunRecord, answer: Answer, version: int | None, now: float) -> Outcome:
    return Outcome(
        run.run_id,
        run.attempt,
        RunState.QUEUED,
        now,
        version=version,
        worker_deaths=int(answer.code == WorkerDied.code),
        due_at=now + backoff_s(run.attempt),
    )


def _error_of(answer: Answer) -> bytes:
    if answer.error is not None:
        return error_json(answer.error)
    try:
        return _read_error(answer.body)
    except UNREADABLE:
        return error_json(InternalError(f"The worker failed with {answer.code!r} and no details."))
