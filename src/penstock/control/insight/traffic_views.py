"""Figures over time as the outside sees them; made by `series`, shown by the routes."""

from __future__ import annotations

import msgspec


class PartView(msgspec.Struct, frozen=True):
    """One part of a call's time: `queue`, `decode`, a stage's `pre`, `model`, `post`, `encode`.

    `stage` is 0 outside of the stages. `mean_ms` has one value for each step of time, null where
    there was no call; `total_mean_ms` is that of the whole range.
    """

    name: str
    stage: int
    kind: str
    branch: str
    mean_ms: list[float | None]
    total_mean_ms: float | None


class BatchView(msgspec.Struct, frozen=True):
    """Rows of the calls of one stage's model.

    `groups` has pairs of the most rows of a group and the share of the model's calls in it.
    """

    stage: int
    branch: str
    model_calls: float
    mean_rows: float
    groups: list[tuple[int, float]]


class Figures(msgspec.Struct, frozen=True):
    """Sums of a stretch of time. Quantiles and means are null when there was no call."""

    calls: int
    errors: int
    cancelled: int
    calls_per_s: float
    success_share: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    codes: dict[str, int]


class VersionFigures(msgspec.Struct, frozen=True):
    """What one version has answered since it was deployed, and in the range asked for."""

    version: int
    calls: int
    errors: int
    success_share: float | None
    mean_ms: float | None
    last_at: float
    in_range: Figures | None


class SwitchView(msgspec.Struct, frozen=True):
    """A version began to serve."""

    version: int
    at: float


class Traffic(msgspec.Struct, frozen=True):
    """What a deployment did in a range of time, in steps of equal length.

    All lists of figures have one value for each step. `start` has the beginning of each step in
    seconds since the epoch; the last step is not over.
    """

    project: str
    deployment: str
    version: int | None
    range: str
    step_s: int
    start: list[int]
    calls_per_s: list[float]
    errors_per_s: list[float]
    mean_ms: list[float | None]
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    p99_ms: list[float | None]
    parts: list[PartView]
    batches: list[BatchView]
    total: Figures
    in_hand: int
    versions: list[VersionFigures]
    switches: list[SwitchView]


class OverviewRow(msgspec.Struct, frozen=True):
    """One deployment at a glance: figures of the last five minutes, and a line of calls and errors.

    `calls` and `errors` are per second, one value for each step of `Overview.start`.
    """

    deployment: str
    now: Figures
    last_at: float | None
    calls: list[float]
    errors: list[float]


class Overview(msgspec.Struct, frozen=True):
    """All deployments of a project that were called in the last hour, by name."""

    project: str
    step_s: int
    start: list[int]
    total: Figures
    deployments: list[OverviewRow]
