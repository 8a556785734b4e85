"""The overview of a longer time, read from the store: what `series.Series.overview_of` answers.

Hundreds of deployments have many thousand points in a week. They are added up in the store's
thread, in parts so that other work comes between, and one answer serves for `FRESH_S`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from penstock.control.insight.columns import figures, kinds_of
from penstock.control.insight.points import Point, unpack_point
from penstock.control.insight.ring import MINUTE_S, TEN_S
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.traffic_views import Overview, OverviewRow
from penstock.core.errors import InvalidSetting
from penstock.core.insight_records import StoredPoint

#: Seconds that an answer is used again.
FRESH_S = 20.0

#: Points that are added up at a time.
_AT_ONCE = 5000


class Long(NamedTuple):
    """A range of time: its length, that of the points it is made of, and of a step of its line."""

    seconds: int
    points_s: int
    step_s: int


LONG_RANGES = {
    "1h": Long(3600, MINUTE_S, 60),
    "24h": Long(86400, TEN_S, 1800),
    "7d": Long(7 * 86400, TEN_S, 3 * 3600),
}


class _Sum:
    """What one deployment did: all of it, and calls and errors by step."""

    __slots__ = ("calls", "errors", "last", "total")

    def __init__(self, steps: int) -> None:
        self.total = Point()
        self.calls = [0] * steps
        self.errors = [0] * steps
        self.last = 0.0


class _Sums(NamedTuple):
    at: float
    first: int
    deployments: dict[str, _Sum]


class LongOverview:
    """Adds up stored points. Every method runs on the event loop.

    Args:
        thread: Where they are stored; the last minute is not there yet.
        now: Seconds since the epoch.
    """

    def __init__(self, thread: InsightThread, now: Callable[[], float] = time.time) -> None:
        self._thread = thread
        self._now = now
        self._sums: dict[tuple[str, str], _Sums] = {}
        self._lock = asyncio.Lock()

    async def of(
        self, project: str, named: str, only: Collection[str] | None, in_hand: int
    ) -> Overview:
        """Return the deployments of a project that were called in a range, with its figures.

        Raises:
            InvalidSetting: There is no range of this name.
        """
        wanted = LONG_RANGES.get(named)
        if wanted is None:
            known = ", ".join(LONG_RANGES)
            raise InvalidSetting(f"There is no range {named[:20]!r}; the ranges are {known}.")
        async with self._lock:  # the same sums are not made twice at once
            found = self._sums.get((project, named))
            if found is None or not 0 <= self._now() - found.at < FRESH_S:
                found = self._sums[project, named] = await self._add_up(project, wanted)
        return _overview(project, wanted, found, only, in_hand)

    async def _add_up(self, project: str, wanted: Long) -> _Sums:
        now, step_s = self._now(), wanted.step_s
        first = (int(now) // step_s - wanted.seconds // step_s + 1) * step_s
        sums: dict[str, _Sum] = {}
        read, add = self._thread.store.points, self._thread.call
        points = await add(read, wanted.points_s, first, project, None)
        for at in range(0, len(points), _AT_ONCE):
            await add(_add, sums, points[at : at + _AT_ONCE], first, wanted)
        return _Sums(now, first, sums)


def _add(sums: dict[str, _Sum], points: Sequence[StoredPoint], first: int, wanted: Long) -> None:
    steps = wanted.seconds // wanted.step_s
    for stored in points:
        point = unpack_point(stored.data)
        name, start = stored.deployment, stored.start
        mine = sums.get(name)
        if mine is None:
            mine = sums[name] = _Sum(steps)
        mine.total.merge(point)
        mine.last = max(mine.last, float(start))
        step = min((start - first) // wanted.step_s, steps - 1)
        mine.calls[step] += point.calls
        mine.errors[step] += point.failed


def _lengths(wanted: Long, first: int, known: int) -> list[int]:
    """Return how many seconds are known of each step: the last one has begun, or is left out."""
    steps = wanted.seconds // wanted.step_s
    known_of = (min(wanted.step_s, known - (first + n * wanted.step_s)) for n in range(steps))
    return [length for length in known_of if length > 0]


def _overview(
    project: str, wanted: Long, found: _Sums, only: Collection[str] | None, in_hand: int
) -> Overview:
    known = int(found.at) // MINUTE_S * MINUTE_S  # what is stored ends with the last minute
    lengths = _lengths(wanted, found.first, known)
    seconds = max(MINUTE_S, known - found.first)
    whole, rows = Point(), []
    for name, mine in sorted(found.deployments.items()):
        if only is not None and name not in only:
            continue
        whole.merge(mine.total)
        kinds = kinds_of(mine.total)
        rows.append(
            OverviewRow(
                name,
                figures(mine.total, seconds),
                mine.last,
                [calls / length for calls, length in zip(mine.calls, lengths)],  # noqa: B905
                [errors / length for errors, length in zip(mine.errors, lengths)],  # noqa: B905
                {kind: ms / max(1, mine.total.calls) for kind, ms in kinds.items()},
            )
        )
    spent = kinds_of(whole)
    all_ms = math.fsum(spent.values())
    return Overview(
        project,
        wanted.step_s,
        [found.first + step * wanted.step_s for step in range(len(lengths))],
        figures(whole, seconds),
        rows,
        {kind: ms / all_ms for kind, ms in spent.items()} if all_ms else {},
        in_hand,
    )
