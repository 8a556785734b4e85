"""Takes what the hot path noted, once a second, and makes figures and records of it.

Per call the hot path appends two values to lists (`control.tally`); all the rest is done here, for
a whole second of calls at a time. What is to last is written in the store's thread, in one
transaction a second. One per server process; extra gateways forward their calls to it, so it sees
all of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from penstock.control.insight.histogram import buckets_of
from penstock.control.insight.kept_calls import KeepOptions, Kept, note, record_of
from penstock.control.insight.points import Point, pack_point, unpack_point
from penstock.control.insight.ring import MINUTE_S, TEN_S, Ring
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.timings import read_parts
from penstock.control.predict import PredictCall, Predictor
from penstock.control.tally import Tally
from penstock.core.errors import PenstockError
from penstock.core.insight_records import LogLine, StoredPoint, Switch, VersionTotal
from penstock.engine.base import Answer, VersionKey
from penstock.stores.insight_base import Batch

log = logging.getLogger("penstock.insight")

TICK_S = 1.0

#: Most calls of one version and tick whose parts are read; of more, an even sample stands for all.
READ_PER_TICK = 200

#: Most calls and bytes that wait to be written, and log lines; what is more is counted, not kept.
MOST_CALLS = 2000
MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 5000

#: Good calls of a version that may be kept at once, when none was kept for a while.
BURST = 20.0

_ALL = 1 << 60

#: A version's figures leave the memory when nothing was added for so long, in seconds.
_FORGET_S = 2 * 3600.0


class _Watched:
    """One tally with what was seen of it."""

    def __init__(self, key: VersionKey, tally: Tally) -> None:
        self.key = key
        self.tally = tally
        self.codes: dict[str, int] = {}
        self.cancelled = 0
        self.credit = BURST
        self.given = 0


class Recorder:
    """Figures over time, kept calls and log lines. Every method runs on the event loop.

    Args:
        predictor: Whose calls are recorded.
        thread: Where they are kept.
        options: Which calls are kept.
        now: Seconds since the epoch.

    Attributes:
        rings: The last hour of each version.
        totals: What each version did since the server started, for metrics.
        lost: Calls and lines that were not kept because too many came, by `calls` and `lines`.
        started_at: When recording began.
        lines_written: Set, and replaced by another, when lines have been written.
    """

    def __init__(
        self,
        predictor: Predictor,
        thread: InsightThread,
        options: KeepOptions,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rings: dict[VersionKey, Ring] = {}
        self.totals: dict[VersionKey, Point] = {}
        self.lost = {"calls": 0, "lines": 0}
        self.options = options
        self.started_at = now()
        self.lines_written = asyncio.Event()
        self._predictor = predictor
        self._thread = thread
        self._now = now
        self._watched: dict[int, _Watched] = {}
        self._kept: list[Kept] = []
        self._bytes = 0
        self._lines: list[LogLine] = []
        self._points: list[StoredPoint] = []
        self._totals: dict[VersionKey, VersionTotal] = {}
        self._switches: list[Switch] = []
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_tick = 0.0
        predictor.on_tally = self._watch

    async def start(self) -> None:
        """Go on with what was stored, and begin to record."""
        await self._resume()
        for key, tally in self._predictor.tallies.items():
            self._watch(key, tally)
        self._last_tick = self._now()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def _resume(self) -> None:
        now = self._now()
        for step_s in (MINUTE_S, TEN_S):
            since = int(now) // step_s * step_s
            store = self._thread.store
            for point in await self._thread.call(store.points, step_s, since, None, None):
                key = VersionKey(point.project, point.deployment, point.version)
                ring = self.rings.setdefault(key, Ring())
                ring.touched = now
                ring.resume(step_s, point.start, unpack_point(point.data))

    def tallies(self) -> Iterator[tuple[VersionKey, Tally]]:
        """Yield the versions that run, with what they have answered."""
        yield from self._predictor.tallies.items()

    # --- what comes in ---

    def _watch(self, key: VersionKey, tally: Tally) -> None:
        if id(tally) not in self._watched:
            watched = self._watched[id(tally)] = _Watched(key, tally)
            tally.keep = self._keep
            self._grant(watched, 0.0)

    def _keep(self, call: PredictCall, answer: Answer, took_ns: int) -> None:
        if len(self._kept) >= MOST_CALLS or self._bytes >= MOST_BYTES:
            self.lost["calls"] += 1
            return
        kept = note(call, answer, took_ns, self._now(), self.options)
        self._bytes += kept.bytes_held
        self._kept.append(kept)

    def add_lines(self, lines: list[LogLine]) -> None:
        """Keep log lines."""
        room = MOST_LINES - len(self._lines)
        self._lines += lines[:room]
        self.lost["lines"] += max(0, len(lines) - room)

    def switched(self, key: VersionKey) -> None:
        """Note that a version began to serve."""
        self._switches.append(Switch(key.project, key.deployment, key.number, self._now()))

    def forget(self, project: str, deployment: str) -> None:
        """Forget the figures of a deployment that was deleted."""
        for table in (self.rings, self.totals, self._totals):
            for key in [k for k in table if (k.project, k.deployment) == (project, deployment)]:
                del table[key]

    # --- the tick ---

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self.take()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    def take(self) -> None:
        """Work out what was noted since the last time."""
        now = self._now()
        passed = max(0.0, now - self._last_tick)
        self._last_tick = now
        fresh: dict[VersionKey, Point] = {}
        for number, watched in list(self._watched.items()):
            point = self._fresh(watched)
            self._grant(watched, passed)
            if not point.is_empty:
                fresh.setdefault(watched.key, Point()).merge(point)
            if self._is_over(watched):
                del self._watched[number]
        for key in [*self.rings, *(k for k in fresh if k not in self.rings)]:
            self._add(key, fresh.get(key), now)

    def _add(self, key: VersionKey, point: Point | None, now: float) -> None:
        ring = self.rings.setdefault(key, Ring())
        over = ring.add(point or _NOTHING, now)
        self._points += [_stored(key, *timed) for timed in over]
        if over:  # a kill then costs at most the last minute, also of the ten minutes
            self._points += [_stored(key, *timed) for timed in ring.unstored()]
        if point is not None:
            self.totals.setdefault(key, Point()).merge(point)
            self._count(key, point, now)
        elif now - ring.touched > _FORGET_S:
            del self.rings[key]

    def _count(self, key: VersionKey, point: Point, now: float) -> None:
        old = self._totals.get(key)
        before = (old.calls, old.errors, old.time_ms) if old is not None else (0, 0, 0.0)
        self._totals[key] = VersionTotal(
            key.project,
            key.deployment,
            key.number,
            before[0] + point.calls,
            before[1] + point.failed,
            before[2] + point.time_ms,
            now,
        )

    def _is_over(self, watched: _Watched) -> bool:
        """Whether the version of a tally was stopped and its last call is answered."""
        tally = watched.tally
        return self._predictor.tallies.get(watched.key) is not tally and tally.in_hand <= 0

    @staticmethod
    def _fresh(watched: _Watched) -> Point:
        tally, point = watched.tally, Point()
        point.most_in_hand = tally.in_hand
        if tally.cancelled != watched.cancelled:
            point.cancelled = tally.cancelled - watched.cancelled
            watched.cancelled = tally.cancelled
        took, timings = tally.take()
        if not took:
            return point
        point.add_times(len(took), sum(took), buckets_of(took))
        if tally.codes != watched.codes:
            before, watched.codes = watched.codes, dict(tally.codes)
            changed = {c: n - before.get(c, 0) for c, n in tally.codes.items()}
            point.errors = {code: number for code, number in changed.items() if number}
        for timing, weight in evenly(timings, READ_PER_TICK):
            point.add_parts(read_parts(timing.decode("latin-1")), weight)
        return point

    def _grant(self, watched: _Watched, passed_s: float) -> None:
        """Say how many good calls are kept until the next tick."""
        options, tally = self.options, watched.tally
        if options.successes == "all":
            tally.wanted = _ALL
        elif options.successes == "some":
            watched.credit -= watched.given - max(0, tally.wanted)
            watched.credit = min(BURST, watched.credit + passed_s * options.per_minute / 60)
            tally.wanted = watched.given = max(0, int(watched.credit))

    # --- what lasts ---

    async def _write(self) -> None:
        kept, self._kept, self._bytes = self._kept, [], 0
        lines, self._lines = self._lines, []
        points, self._points = self._points, []
        totals, self._totals = self._totals, {}
        switches, self._switches = self._switches, []
        if not (kept or lines or points or totals or switches):
            return
        batch = Batch((), lines, points, list(totals.values()), switches)
        try:
            await self._thread.call(_write, self._thread, kept, self.options, batch)
        except PenstockError as error:
            log.error("What calls did could not be written: %s", error)
        if lines:
            self.lines_written.set()
            self.lines_written = asyncio.Event()

    async def flush(self) -> None:
        """Write all there is, also of points that are not over."""
        if self._writing is not None:
            await self._writing
        self.take()
        for key, ring in self.rings.items():
            self._points += [_stored(key, *timed) for timed in ring.unstored()]
        await self._write()

    async def close(self) -> None:
        """Record nothing more; write what there is."""
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()


_NOTHING = Point()


def _stored(key: VersionKey, step_s: int, start: int, point: Point) -> StoredPoint:
    return StoredPoint(key.project, key.deployment, key.number, step_s, start, pack_point(point))


def _write(thread: InsightThread, kept: list[Kept], options: KeepOptions, batch: Batch) -> None:
    calls = [record_of(one, options) for one in kept]
    thread.store.write(batch._replace(calls=calls))


def evenly(timings: list[bytes], most: int) -> Iterator[tuple[bytes, int]]:
    """Yield at most so many of the texts, evenly spread, each with how many it stands for."""
    count = len(timings)
    if count <= most:
        yield from ((timing, 1) for timing in timings)
        return
    for index in range(most):
        first, following = index * count // most, (index + 1) * count // most
        yield timings[first], following - first
