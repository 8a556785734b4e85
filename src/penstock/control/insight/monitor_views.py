"""How a deployment's predictions are watched: what is asked for, kept and shown."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.control.insight.profiles import Groups


class MonitorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference and what to watch for.

    `inputs` are data points as calls send them (a list of rows, of dicts, or a dict of columns),
    `results` what the flow should answer to them, in the same form as its results; both or either.
    `features` and `targets` name the values of rows that are lists, in order. `window_s` is the
    time that is compared with the reference, `drift_threshold` the stability index from which it
    has changed, `min_rows` how many values that takes. `min_accuracy` is the share of right labels
    below which it is told, too. `alert_url` is told when a limit is passed, and when all is well.
    """

    inputs: Any = None
    results: Any = None
    features: list[str] = []
    targets: list[str] = []
    window_s: float = 86400.0
    drift_threshold: float = 0.2
    min_rows: int = 100
    min_accuracy: float | None = None
    alert_url: str | None = None


class Monitor(msgspec.Struct):
    """How one deployment is watched, as it is kept. `problems` are those told last."""

    features: dict[str, Groups]
    outputs: dict[str, Groups]
    feature_names: list[str]
    target_names: list[str]
    window_s: float
    drift_threshold: float
    min_rows: int
    min_accuracy: float | None
    alert_url: str | None
    created_at: float
    problems: list[str] = []


class GroupView(msgspec.Struct, frozen=True):
    """One group of values: its share in the reference and now."""

    group: str
    reference: float
    now: float | None


class DriftView(msgspec.Struct, frozen=True):
    """One feature or output, compared with the reference over the window.

    `index` is the population stability index; `state` is `stable`, `changing` (from half of the
    threshold), `changed`, or `few` (fewer than `min_rows` values). `history` has pairs of the
    beginning of an hour and the index of that hour.
    """

    name: str
    kind: str
    index: float | None
    state: str
    count: int
    missing_share: float | None
    reference_mean: float | None
    mean: float | None
    groups: list[GroupView]
    history: list[tuple[int, float | None]]


class QualityView(msgspec.Struct, frozen=True):
    """How good predictions of one version and hour were, as far as their truth is known.

    `accuracy` is the share of right labels, `mean_absolute_error` is for numbers.
    """

    version: int
    start: int
    count: int
    accuracy: float | None
    mean_absolute_error: float | None


class MonitorView(msgspec.Struct, frozen=True):
    """The predictions of a deployment, watched. `problems` are those that were told last."""

    project: str
    deployment: str
    created_at: float
    window_s: float
    drift_threshold: float
    min_rows: int
    min_accuracy: float | None
    alert_url: str | None
    features: list[DriftView]
    outputs: list[DriftView]
    quality: list[QualityView]
    window_quality: list[QualityView]
    problems: list[str]


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Truths by prediction id: labels or numbers."""

    feedback: dict[str, Any]


class FeedbackAnswer(msgspec.Struct, frozen=True):
    """How many truths were taken, and the ids of predictions that are not known (any more)."""

    taken: int
    unknown: list[str]


class AlertBody(msgspec.Struct, frozen=True):
    """What `alert_url` is told: `state` is `problem` or `well`."""

    type: str
    project: str
    deployment: str
    at: float
    state: str
    problems: list[str]
    features: dict[str, float]
    outputs: dict[str, float]
    accuracy: float | None
