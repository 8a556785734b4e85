"""Compares what was counted with a reference; called by `monitoring` in the store's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from penstock.control.insight.monitor_views import (
    DriftView,
    GroupView,
    Monitor,
    MonitorView,
    QualityView,
)
from penstock.control.insight.profiles import (
    Counted,
    Counts,
    Groups,
    add_counts,
    stability_index,
)
from penstock.core.monitor_records import Profile, Quality
from penstock.stores.insight_base import MonitorStore

HOUR_S = 3600

#: Hours of history that are shown.
HOURS = 48


class Profiled(msgspec.Struct, array_like=True):
    """What was counted in a stretch of time, of features and of outputs."""

    features: Counted = {}
    outputs: Counted = {}

    def add(self, other: Profiled) -> None:
        """Add what another has counted."""
        add_counts(self.features, other.features)
        add_counts(self.outputs, other.outputs)


pack_profile = msgspec.msgpack.Encoder().encode
read_profile = msgspec.msgpack.Decoder(Profiled).decode


class Now(NamedTuple):
    """What the window and the hours before hold."""

    window: Profiled
    hours: dict[int, Profiled]
    quality: Sequence[Quality]
    window_quality: Sequence[Quality]


def look(store: MonitorStore, project: str, deployment: str, monitor: Monitor, now: float) -> Now:
    """Read what has been counted."""
    since = min(now - monitor.window_s, now - HOURS * HOUR_S)
    window, hours = Profiled(), dict[int, Profiled]()
    for profile in store.profiles(project, deployment, since):
        found = read_profile(profile.data)
        if profile.start >= now - monitor.window_s:
            window.add(found)
        hours.setdefault(profile.start // HOUR_S * HOUR_S, Profiled()).add(found)
    quality = store.quality(project, deployment, now - HOURS * HOUR_S, HOUR_S)
    whole = store.quality(project, deployment, now - monitor.window_s, 1 << 40)
    return Now(window, hours, quality, whole)


def view_of(project: str, deployment: str, monitor: Monitor, now: Now) -> MonitorView:
    """Return what is shown of a watched deployment."""
    hours = sorted(now.hours.items())
    return MonitorView(
        project=project,
        deployment=deployment,
        created_at=monitor.created_at,
        window_s=monitor.window_s,
        drift_threshold=monitor.drift_threshold,
        min_rows=monitor.min_rows,
        min_accuracy=monitor.min_accuracy,
        alert_url=monitor.alert_url,
        features=_drifts(
            monitor.features, now.window.features, [(t, h.features) for t, h in hours], monitor
        ),
        outputs=_drifts(
            monitor.outputs, now.window.outputs, [(t, h.outputs) for t, h in hours], monitor
        ),
        quality=[quality_view(one) for one in now.quality],
        window_quality=[quality_view(one) for one in now.window_quality],
        problems=monitor.problems,
    )


def _drifts(
    reference: Mapping[str, Groups],
    counted: Counted,
    hours: Sequence[tuple[int, Counted]],
    monitor: Monitor,
) -> list[DriftView]:
    views = []
    for name, groups in reference.items():
        counts = counted.get(name) or Counts([0] * groups.size)
        history = [
            (start, stability_index(groups, hour[name])) for start, hour in hours if name in hour
        ]
        views.append(_drift(name, groups, counts, history, monitor))
    return views


def _drift(
    name: str,
    groups: Groups,
    counts: Counts,
    history: list[tuple[int, float | None]],
    monitor: Monitor,
) -> DriftView:
    total, index = sum(counts.groups), stability_index(groups, counts)
    return DriftView(
        name=name,
        kind=groups.kind,
        index=index,
        state=state_of(index, total, monitor),
        count=total,
        missing_share=counts.groups[-1] / total if total else None,
        reference_mean=groups.mean,
        mean=counts.total / counts.numbers if counts.numbers else None,
        groups=[
            GroupView(label, share, count / total if total else None)
            for label, share, count in zip(
                _labels(groups), groups.shares, counts.groups, strict=True
            )
        ],
        history=history,
    )


def state_of(index: float | None, count: int, monitor: Monitor) -> str:
    """Return in one word how far values are from the reference."""
    if index is None or count < monitor.min_rows:
        return "few"
    if index >= monitor.drift_threshold:
        return "changed"
    return "changing" if index >= monitor.drift_threshold / 2 else "stable"


def _labels(groups: Groups) -> list[str]:
    if groups.kind == "category":
        return [*groups.names, "others", "missing"]
    edges = [f"{edge:g}" for edge in groups.edges]
    if not edges:
        return ["all", "missing"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *between, f"over {edges[-1]}", "missing"]


def quality_view(found: Quality) -> QualityView:
    """Return how good predictions were, for the outside."""
    return QualityView(
        version=found.version,
        start=found.start,
        count=found.truths,
        accuracy=found.correct / found.labels if found.labels else None,
        mean_absolute_error=found.difference / found.numbers if found.numbers else None,
    )


def accuracy_of(found: Sequence[Quality]) -> tuple[int, float | None]:
    """Return how many labels are known, and the share of right ones, of all versions."""
    labels = sum(one.labels for one in found)
    return labels, sum(one.correct for one in found) / labels if labels else None


def profile_of(project: str, deployment: str, start: int, counted: Profiled) -> Profile:
    """Return what was counted as it is kept."""
    return Profile(project, deployment, start, pack_profile(counted))
