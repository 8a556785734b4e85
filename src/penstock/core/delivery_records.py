"""What the server remembers of webhooks and of uploaded files, as frozen values.

Times are seconds since the epoch (UTC, float). Read and written by `penstock.stores`, decided on
by `penstock.control.webhooks`, `deliveries`, `webhook_secrets` and `uploads`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DeliveryState(str, Enum):
    """Where a delivery stands: to be sent, taken by its receiver, given up, or called off."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class DeliveryRecord:
    """The telling of one run's end to one URL.

    Attributes:
        id: `msg_…`; the same in every attempt, so that a receiver can tell a repetition.
        attempt: Attempts since it was made, or since it was last asked for by hand.
        next_attempt_at: When it is due; None unless pending.
        last_status: HTTP status of the latest answer.
        last_error: Why the latest attempt had no answer, or why it was given up.
    """

    id: str
    project: str
    deployment: str
    run_id: str
    url: str
    state: DeliveryState
    attempt: int
    next_attempt_at: float | None
    created_at: float
    delivered_at: float | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt to deliver. `status` is None when no answer came; then `error` says why."""

    at: float
    status: int | None
    error: str
    took_ms: float


@dataclass(frozen=True)
class Settlement:
    """What an attempt makes of its delivery.

    Attributes:
        id: The delivery.
        attempt: The attempts it had before this one; if that has changed, nothing is settled.
        made: The attempt.
        state: The state from now on.
        next_attempt_at: Set exactly when `state` is pending.
        error: What to show as the latest error; None if it was delivered.
    """

    id: str
    attempt: int
    made: AttemptRecord
    state: DeliveryState
    next_attempt_at: float | None
    error: str | None


@dataclass(frozen=True)
class SecretRecord:
    """A secret that webhooks of a project are signed with.

    Attributes:
        seq: Grows with every secret.
        shown_at: When its text was handed out; it is handed out once.
        retired_at: When it stops signing; None for the present one.
    """

    seq: int
    project: str
    secret: str
    created_at: float
    shown_at: float | None
    retired_at: float | None

    def __repr__(self) -> str:
        return f"SecretRecord({self.project!r}, seq={self.seq})"


@dataclass(frozen=True)
class UploadRecord:
    """A file that a processing function uploaded. `size` is in bytes."""

    file_id: str
    project: str
    deployment: str
    name: str
    sha256: str
    size: int
    created_at: float
    expires_at: float
