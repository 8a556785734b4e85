"""What is remembered to watch a deployment's predictions, as frozen values.

Kept by `penstock.stores.monitor_rows`, decided on by `penstock.control.insight.monitoring`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Prediction:
    """One prediction of a watched deployment, until its truth comes.

    Attributes:
        at: When its call arrived, seconds since the epoch.
        output: Its result as JSON.
    """

    prediction_id: str
    project: str
    deployment: str
    version: int
    at: float
    output: str


@dataclass(frozen=True)
class Feedback:
    """The truth about one prediction.

    Attributes:
        given_at: When it was told.
        truth: As JSON.
        correct: Whether the prediction was the truth, for labels; None for numbers.
        difference: Absolute difference, for numbers; None for labels.
    """

    prediction: Prediction
    given_at: float
    truth: str
    correct: bool | None
    difference: float | None


class Quality(NamedTuple):
    """How good the predictions of a stretch of time were, as far as their truth is known."""

    version: int
    start: int
    truths: int
    labels: int
    correct: int
    numbers: int
    difference: float


class Profile(NamedTuple):
    """Counts of the values of a deployment in `step_s` seconds; `data` is opaque to the store."""

    project: str
    deployment: str
    start: int
    data: bytes
