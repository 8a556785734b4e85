"""What the server remembers about calls it answered, as frozen values.

Written by `penstock.control.insight`, kept by `penstock.stores.sqlite_insight`. Times are seconds
since the epoch (UTC, float) and milliseconds (`_ms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from penstock.core.run_records import ReplicaId
from penstock.core.states import RunState


@dataclass(frozen=True)
class CallRecord:
    """A synchronous call that was kept: every one that failed, and a sample of the others.

    Attributes:
        run_id: The run's id.
        version: The version that was asked.
        key_id: The key that called.
        state: `succeeded` or `failed`.
        created_at: When it arrived.
        run_time_ms: From arrival to answer, inside the server.
        media_type: `Content-Type` of the request.
        size_bytes: Size of the request's body.
        points: Data points of the result; 0 when it failed.
        server_timing: What the worker measured, as in the answer.
        code: The error's code; None on success.
        error: The error object as JSON, traceback included; None on success.
        input: The request's body, as far as it is kept.
        result: The result as JSON, as far as it is kept.
        input_cut: Whether `input` is only the beginning.
        result_cut: Whether `result` is only the beginning.
        replica: The replica that answered, or ended while it held the call; None if none had it.
    """

    run_id: str
    project: str
    deployment: str
    version: int
    key_id: str
    state: RunState
    created_at: float
    run_time_ms: float
    media_type: str
    size_bytes: int
    points: int
    server_timing: str
    code: str | None = None
    error: str | None = None
    input: bytes | None = None
    result: bytes | None = None
    input_cut: bool = False
    result_cut: bool = False
    replica: ReplicaId | None = None


@dataclass(frozen=True)
class LogLine:
    """One line that a worker printed or logged.

    Attributes:
        seq: Grows with every line that is kept; 0 before.
        run_id: The run whose function said it; None for what was said outside of a run.
        stage: Stage number from 1; 0 outside of a function.
        function: `pre`, `model`, `post`, or empty.
        level: A level of `logging`, `print` (standard output) or `stderr`.
    """

    project: str
    deployment: str
    version: int
    at: float
    text: str
    run_id: str | None = None
    stage: int = 0
    function: str = ""
    level: str = "print"
    seq: int = 0


class StoredPoint(NamedTuple):
    """What one version did in `step_s` seconds from `start` on; `data` is opaque to the store."""

    project: str
    deployment: str
    version: int
    step_s: int
    start: int
    data: bytes


class Switch(NamedTuple):
    """A version began to serve its deployment."""

    project: str
    deployment: str
    version: int
    at: float


@dataclass(frozen=True)
class VersionTotal:
    """All that one version has answered, over all its starts."""

    project: str
    deployment: str
    version: int
    calls: int
    errors: int
    time_ms: float
    last_at: float


class Alike(NamedTuple):
    """Kept failures of one version that have the same cause: how many, and when the first was."""

    version: int
    runs: int
    first: float


class RunCursor(NamedTuple):
    """A place in the list of runs, which goes from the newest to the oldest."""

    created_at: float
    run_id: str


@dataclass(frozen=True)
class RunFilter:
    """Which runs of a project are asked for. None and empty mean any.

    Attributes:
        since: Created at this time or later.
        until: Created before this time.
        min_ms: Took at least so long.
        max_ms: Took at most so long.
        code: Failed with this error code.
        only: The only deployments that whoever asks may see.
    """

    project: str
    deployment: str | None = None
    states: tuple[RunState, ...] = ()
    version: int | None = None
    since: float | None = None
    until: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    code: str | None = None
    only: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LogFilter:
    """Which log lines of a project are asked for. None means any.

    Attributes:
        only: The only deployments that whoever asks may see.
    """

    project: str
    deployment: str | None = None
    version: int | None = None
    run_id: str | None = None
    level: str | None = None
    text: str | None = None
    only: tuple[str, ...] | None = None
