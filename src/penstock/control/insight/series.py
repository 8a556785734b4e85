"""Figures over time, read from memory and from the store.

Called by the traffic routes and the dashboard. The last hour is in five-second points in memory,
24 hours in stored minutes, longer ranges in stored ten minutes. After a restart the minutes from
before stand in for the five seconds of the last hour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from penstock.control.insight.columns import (
    batches_of,
    columns_of,
    figures,
    kinds_of,
    parts_of,
    slots_of,
    versions_of,
)
from penstock.control.insight.long_overview import LongOverview
from penstock.control.insight.points import Point, pack_point, unpack_point
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.ring import FINE_S, MINUTE_S, TEN_S, Ring
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.traffic_views import Overview, OverviewRow, SwitchView, Traffic
from penstock.core.errors import InvalidSetting
from penstock.engine.base import VersionKey


class Range(NamedTuple):
    """A range of time: its length, the points it is made of, and the length of a step."""

    seconds: int
    points_s: int
    step_s: int


RANGES: dict[str, Range] = {
    "15m": Range(900, FINE_S, 5),
    "1h": Range(3600, FINE_S, 20),
    "24h": Range(86400, MINUTE_S, 300),
    "7d": Range(7 * 86400, TEN_S, 3600),
    "30d": Range(30 * 86400, TEN_S, 4 * 3600),
}

#: What the overview shows: figures of so many seconds, and a line of so many steps.
_NOW_S, _LINE_STEPS, _LINE_STEP_S = 300, 60, 15

#: Points by version, and then by start and length in seconds.
_Found = dict[int, dict[tuple[int, int], Point]]


class _Asked(NamedTuple):
    """A question for figures; `first` is the beginning of the first step."""

    project: str
    deployment: str
    version: int | None
    named: str
    first: int
    now: float


class Series:
    """Reads figures. Every method runs on the event loop.

    Args:
        recorder: What is in memory.
        thread: What is stored.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        recorder: Recorder,
        thread: InsightThread,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._recorder = recorder
        self._thread = thread
        self._now = now
        self._long = LongOverview(thread, now)

    async def traffic(
        self, project: str, deployment: str, version: int | None, named: str
    ) -> Traffic:
        """Return what a deployment, or one version of it, did in a range.

        Raises:
            InvalidSetting: There is no range of this name.
        """
        wanted = RANGES.get(named)
        if wanted is None:
            raise InvalidSetting(
                f"There is no range {named[:20]!r}; the ranges are {', '.join(RANGES)}."
            )
        now = self._now()
        first = (int(now) - wanted.seconds) // wanted.step_s * wanted.step_s + wanted.step_s
        lately = self._in_memory(project, deployment, wanted.points_s, first)
        asked = _Asked(project, deployment, version, named, first, now)
        in_hand = self._in_hand(asked)
        return await self._thread.call(self._work_out, asked, lately, in_hand)

    def _in_hand(self, asked: _Asked) -> int:
        return sum(
            tally.in_hand
            for key, tally in self._recorder.tallies()
            if (key.project, key.deployment) == (asked.project, asked.deployment)
            and asked.version in {None, key.number}
        )

    def _in_memory(self, project: str, deployment: str, points_s: int, since: int) -> _Found:
        """Return what the memory has; what is still being filled as a copy."""
        found: _Found = {}
        for key, ring in self._recorder.rings.items():
            if (key.project, key.deployment) != (project, deployment):
                continue
            if points_s == FINE_S:
                timed = self._fine(ring, since)
            elif points_s == MINUTE_S:
                timed = [(start, MINUTE_S, point) for start, point in ring.minutes(since)]
            else:
                timed = [(s, points_s, point) for s, point in ring.open_point(points_s, since)]
            found[key.number] = {
                (start, length): unpack_point(pack_point(point)) for start, length, point in timed
            }
        return found

    def _fine(self, ring: Ring, since: int) -> list[tuple[int, int, Point]]:
        """Return starts, lengths and points of the last hour.

        The minute of the server's start is one point once it is past: that has what was done before
        the start, too, and stands in for the stored one.
        """
        begun = int(self._recorder.started_at) // MINUTE_S * MINUTE_S
        whole = begun + MINUTE_S <= self._now()
        first = max(since, begun + MINUTE_S) if whole else since
        found = [(start, FINE_S, point) for start, point in ring.fine(first)]
        if whole and since < begun + MINUTE_S:
            found += [(s, MINUTE_S, point) for s, point in ring.minutes(begun) if s == begun]
        return found

    def _work_out(self, asked: _Asked, lately: _Found, in_hand: int) -> Traffic:
        """Join what is stored with what is in memory; runs in the store's thread."""
        wanted, store = RANGES[asked.named], self._thread.store
        found = self._stored(asked, wanted)
        for number, spread in lately.items():
            found.setdefault(number, {}).update(spread)
        shown = {n: s for n, s in found.items() if asked.version in {None, n}}
        slots = slots_of(shown.values(), asked.first, wanted.step_s, int(asked.now))
        total = Point()
        for spread in shown.values():
            for point in spread.values():
                total.merge(point)
        seconds = min(wanted.seconds, max(1.0, asked.now - asked.first))
        return Traffic(
            project=asked.project,
            deployment=asked.deployment,
            version=asked.version,
            range=asked.named,
            step_s=wanted.step_s,
            **columns_of(slots, asked.first, wanted.step_s, asked.now),
            parts=parts_of(slots, total),
            batches=batches_of(total),
            total=figures(total, seconds),
            in_hand=in_hand,
            versions=versions_of(store.totals(asked.project, asked.deployment), found, seconds),
            switches=[
                SwitchView(s.version, s.at)
                for s in store.switches(asked.project, asked.deployment, asked.first)
            ],
        )

    def _stored(self, asked: _Asked, wanted: Range) -> _Found:
        """Return the stored points of a range; for the last hour those from before the start."""
        fine = wanted.points_s == FINE_S
        read_s = MINUTE_S if fine else wanted.points_s
        until = self._recorder.started_at if fine else math.inf
        if asked.first >= until:
            return {}
        since = asked.first // read_s * read_s
        found: _Found = {}
        store = self._thread.store
        for one in store.points(read_s, since, asked.project, asked.deployment):
            if one.start < until:
                points = found.setdefault(one.version, {})
                points[one.start, read_s] = unpack_point(one.data)
        return found

    async def overview_of(
        self, project: str, named: str, only: Collection[str] | None = None
    ) -> Overview:
        """Return the overview of a longer range, `1h`, `24h` or `7d`.

        The figures of its rows and its lines are of the whole range, to the last whole minute.

        Raises:
            InvalidSetting: There is no range of this name.
        """
        return await self._long.of(project, named, only, self._all_in_hand(project, only))

    def _all_in_hand(self, project: str, only: Collection[str] | None) -> int:
        return sum(
            tally.in_hand
            for key, tally in self._recorder.tallies()
            if key.project == project and (only is None or key.deployment in only)
        )

    def overview(self, project: str, only: Collection[str] | None = None) -> Overview:
        """Return the deployments of a project that were called in the last hour.

        With `only` it is these alone, in the sums too.
        """

        def is_meant(key: VersionKey) -> bool:
            return key.project == project and (only is None or key.deployment in only)

        now = self._now()
        first = (int(now) // _LINE_STEP_S - _LINE_STEPS + 1) * _LINE_STEP_S
        by_name: dict[str, list[VersionKey]] = {}
        for key in self._recorder.rings:
            if is_meant(key):
                by_name.setdefault(key.deployment, []).append(key)
        whole, rows = Point(), []
        for name, keys in sorted(by_name.items()):
            row, lately = self._row(name, keys, first, now)
            rows.append(row)
            whole.merge(lately)
        start = [first + step * _LINE_STEP_S for step in range(_LINE_STEPS)]
        spent = kinds_of(whole)
        all_ms = sum(spent.values())
        return Overview(
            project,
            _LINE_STEP_S,
            start,
            figures(whole, now - _since(now)),
            rows,
            {kind: ms / all_ms for kind, ms in spent.items()} if all_ms else {},
            self._all_in_hand(project, only),
        )

    def _row(
        self, name: str, keys: list[VersionKey], first: int, now: float
    ) -> tuple[OverviewRow, Point]:
        calls, errors, lately = [0.0] * _LINE_STEPS, [0.0] * _LINE_STEPS, Point()
        touched = 0.0
        for key in keys:
            ring = self._recorder.rings[key]
            touched = max(touched, ring.touched)
            for start, called, failed in ring.line(first):
                at = (start - first) // _LINE_STEP_S
                if at < _LINE_STEPS:
                    calls[at] += called / _LINE_STEP_S
                    errors[at] += failed / _LINE_STEP_S
            for _start, point in ring.minutes(_since(now)):
                lately.merge(point)
        kinds = {kind: ms / max(1, lately.calls) for kind, ms in kinds_of(lately).items()}
        row = OverviewRow(
            name, figures(lately, now - _since(now)), touched or None, calls, errors, kinds
        )
        return row, lately


def _since(now: float) -> int:
    """Return the beginning of the four to five minutes that the overview's figures are of."""
    return int(now) // MINUTE_S * MINUTE_S - _NOW_S + MINUTE_S
