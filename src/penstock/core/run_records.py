"""What the server remembers of an asynchronous run, as frozen values.

Times are seconds since the epoch (UTC, float). Read and written by `penstock.stores`, decided on
by `penstock.control.runs` and `run_executor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.core.states import RunState

#: A deployment: project and name.
Name = tuple[str, str]


@dataclass(frozen=True)
class Payload:
    """The bytes of an input or a result: inline, or in the blob store under `sha256`.

    Exactly one of `inline` and `sha256` is set. `size` is in bytes.
    """

    inline: bytes | None
    sha256: str | None
    size: int


@dataclass(frozen=True)
class ReplicaId:
    """Which replica of a version it is.

    Attributes:
        number: From 1 on, among those of its version that there are. One that ended leaves its
            number to the next one.
        pid: Its process. With the number it says whether two runs met the same one.
    """

    number: int
    pid: int


@dataclass(frozen=True)
class NewRun:
    """A run to be remembered before its caller gets 202.

    Attributes:
        run_id: Fresh id.
        key_id: The key that submitted it.
        media_type: `Content-Type` of the input.
        priority: Higher runs first; 0 is usual.
        timeout_s: Seconds each attempt may take; None means the version's own limit.
        webhook_url: Where the end is told, or None.
        idempotency_key: The caller's word for this very request, or None.
        request_digest: SHA-256 of the request, compared when the key comes again.
        traceparent: The request's `traceparent` (W3C Trace Context), or empty.
    """

    run_id: str
    project: str
    deployment: str
    key_id: str
    created_at: float
    media_type: str
    input: Payload
    priority: int = 0
    timeout_s: float | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None
    request_digest: bytes = b""
    traceparent: str = ""


@dataclass(frozen=True)
class RunRecord:
    """A run as it stands.

    Attributes:
        seq: Grows with every run that is accepted; the order of age.
        attempt: How often it was claimed; the fencing token of its result.
        worker_deaths: Attempts that ended with the death of the worker.
        crashes: Attempts that ended with the server, or with a lease that ran out.
        owner: Incarnation of the server that holds it while `running`.
        due_at: Not to be claimed before.
        started_at: When the latest attempt was claimed.
        version: The version that ran the latest attempt that reached one.
        points: Number of data points of the result.
        replica: The replica that ended its last attempt; None if none did.
        input: None in lists.
        result: None unless succeeded, and in lists.
        error: `PenstockError.to_dict` with traceback, when failed.
        traceparent: As its submitter sent it, or empty.
    """

    seq: int
    run_id: str
    project: str
    deployment: str
    key_id: str
    state: RunState
    priority: int
    attempt: int
    worker_deaths: int
    crashes: int
    media_type: str
    timeout_s: float | None
    webhook_url: str | None
    idempotency_key: str | None
    request_digest: bytes
    created_at: float
    due_at: float
    started_at: float | None
    finished_at: float | None
    owner: str | None
    lease_until: float | None
    version: int | None
    run_time_ms: float | None
    points: int
    server_timing: str
    input: Payload | None
    result: Payload | None
    error: dict[str, Any] | None
    traceparent: str = ""
    replica: ReplicaId | None = None

    @property
    def name(self) -> Name:
        """The deployment it is of."""
        return self.project, self.deployment


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt: a terminal state, or `queued` for another attempt.

    `error` is JSON. `worker_deaths` is added to the run's. `due_at` matters for `queued` only.
    """

    run_id: str
    attempt: int
    state: RunState
    at: float
    version: int | None = None
    run_time_ms: float | None = None
    points: int = 0
    server_timing: str = ""
    result: Payload | None = None
    error: bytes | None = None
    worker_deaths: int = 0
    due_at: float = 0.0
    replica: ReplicaId | None = None


class Claims(NamedTuple):
    """What a claim got.

    `later` has the deployments that had fewer due runs than asked for, with the time when their
    next queued run is due (None: they have none).
    """

    runs: list[RunRecord]
    later: dict[Name, float | None]


class Reclaimed(NamedTuple):
    """What became of runs whose holder is gone: deployments to look at, and runs that failed."""

    requeued: set[Name]
    failed: list[RunRecord]
