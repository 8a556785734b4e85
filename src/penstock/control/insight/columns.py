"""Figures over time worked out of points: columns by step, parts, batches, sums.

Called by `series`, for long ranges in the store's thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.control.insight.histogram import quantiles_ms
from penstock.control.insight.points import Point
from penstock.control.insight.timings import place_of
from penstock.control.insight.traffic_views import BatchView, Figures, PartView, VersionFigures
from penstock.core.insight_records import VersionTotal

QUANTILES = (0.5, 0.95, 0.99)

#: Points of one version by start and length in seconds.
Spread = Mapping[tuple[int, int], Point]

#: The points that lie in a step, each with its share of the point's calls.
Slot = list[tuple[float, Point]]


def slots_of(spreads: Iterable[Spread], first: int, step: int, now: int) -> list[Slot]:
    """Return for each step the points that lie in it, each with its share of the point's calls."""
    count = (now - first) // step + 1
    slots: list[Slot] = [[] for _ in range(count)]
    for spread in spreads:
        for (start, seconds), point in spread.items():
            if seconds <= step:
                at = (start - first) // step
                if 0 <= at < count:
                    slots[at].append((1.0, point))
                continue
            for piece in range(start, start + seconds, step):
                at = (piece - first) // step
                if 0 <= at < count and piece <= now:
                    slots[at].append((step / seconds, point))
    return slots


def columns_of(slots: list[Slot], first: int, step: int, now: float) -> dict[str, Any]:
    """Return the columns of `Traffic` that have one value for each step."""
    calls, errors = [], []
    means: list[float | None] = []
    quantiles: list[list[float | None]] = []
    for index, slot in enumerate(slots):
        # The last step is not over: a rate over its whole length would look like a fall.
        seconds = (
            step if index < len(slots) - 1 else min(step, max(1.0, now - first - index * step))
        )
        count = sum(share * point.calls for share, point in slot)
        calls.append(round(count / seconds, 4))
        errors.append(round(sum(share * p.failed for share, p in slot) / seconds, 4))
        spent = sum(share * point.time_ms for share, point in slot)
        means.append(_ms(spent / count) if count else None)
        quantiles.append([_ms(q) for q in quantiles_ms(_buckets(slot), QUANTILES)])
    p50, p95, p99 = (list(column) for column in zip(*quantiles, strict=True))
    return {
        "start": [first + index * step for index in range(len(slots))],
        "calls_per_s": calls,
        "errors_per_s": errors,
        "mean_ms": means,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
    }


def _buckets(slot: Slot) -> dict[int, float]:
    total: dict[int, float] = {}
    for share, point in slot:
        for bucket, count in point.buckets.items():
            total[bucket] = total.get(bucket, 0.0) + share * count
    return total


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def parts_of(slots: list[Slot], total: Point) -> list[PartView]:
    """Return the parts in the order a call meets them. Means are over the calls that had it."""
    found = []
    for name in sorted(total.parts, key=_order):
        means: list[float | None] = []
        for slot in slots:
            having = [(share, p.parts[name]) for share, p in slot if name in p.parts]
            calls = sum(share * part.calls for share, part in having)
            spent = sum(share * part.ms for share, part in having)
            means.append(_ms(spent / calls) if calls else None)
        place, whole = place_of(name), total.parts[name]
        mean = _ms(whole.ms / whole.calls) if whole.calls else None
        found.append(PartView(name, place.stage, place.kind, place.branch, means, mean))
    return found


_KINDS = {"queue": -2, "decode": -1, "pre": 0, "model": 1, "post": 2}


def _order(name: str) -> tuple[float, str, int, str]:
    place = place_of(name)
    kind = _KINDS.get(place.kind, 3)
    stage = place.stage or (-1 if kind < 0 else math.inf)
    return stage, place.branch, kind, name


def batches_of(total: Point) -> list[BatchView]:
    """Return the rows of the models' calls."""
    found = []
    for name, groups in sorted(total.model_calls.items()):
        place, rows = place_of(name), total.rows[name]
        count = sum(groups.values())
        if not count:
            continue
        shares = [(group, round(number / count, 4)) for group, number in sorted(groups.items())]
        found.append(
            BatchView(place.stage, place.branch, round(count, 1), rows.ms / rows.calls, shares)
        )
    return found


def figures(point: Point, seconds: float) -> Figures:
    """Return the sums of a point that covers so many seconds."""
    p50, p95, p99 = quantiles_ms(point.buckets, QUANTILES)
    calls, errors = point.calls, point.failed
    return Figures(
        calls=calls,
        errors=errors,
        cancelled=point.cancelled,
        calls_per_s=round(calls / seconds, 4),
        success_share=(calls - errors) / calls if calls else None,
        mean_ms=_ms(point.time_ms / calls) if calls else None,
        p50_ms=_ms(p50),
        p95_ms=_ms(p95),
        p99_ms=_ms(p99),
        codes=dict(point.errors),
    )


def versions_of(
    totals: Iterable[VersionTotal], found: Mapping[int, Spread], seconds: float
) -> list[VersionFigures]:
    """Return what each version has answered, newest first."""
    views = []
    for total in totals:
        point = Point()
        for one in found.get(total.version, {}).values():
            point.merge(one)
        calls, errors = total.calls, total.errors
        views.append(
            VersionFigures(
                version=total.version,
                calls=calls,
                errors=errors,
                success_share=(calls - errors) / calls if calls else None,
                mean_ms=_ms(total.time_ms / calls) if calls else None,
                last_at=total.last_at,
                in_range=None if point.is_empty else figures(point, seconds),
            )
        )
    return views[::-1]
