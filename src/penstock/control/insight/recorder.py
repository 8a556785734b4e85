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
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from penstock.control.insight.kept_calls import KeepOptions, Kept, note, record_of
from penstock.control.insight.points import Point, pack_point, unpack_point
from penstock.control.insight.ring import MINUTE_S, TEN_S, Ring
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.totals import Totals
from penstock.control.insight.traces import Traces
from penstock.control.insight.watched import EVERY, Watched
from penstock.control.predict import PredictCall, Predictor
from penstock.control.tally import Tally
from penstock.core.errors import PenstockError
from penstock.core.insight_records import CallRecord, LogLine, StoredPoint, Switch, VersionTotal
from penstock.engine.base import Answer, VersionKey
from penstock.stores.insight_base import Batch

log = logging.getLogger("penstock.insight")

TICK_S = 1.0

#: Most calls and bytes that wait to be written, and log lines; what is more is counted, not kept.
MOST_CALLS = 2000
MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 5000

#: Most of those lines that one deployment may have: one that floods takes no other's place.
MOST_LINES_OF_ONE = 2000

#: Good calls of one version and tick that its deployment's observer gets, at most.
OBSERVED = 100

Observer = Callable[[PredictCall, Answer, int], None]

#: A version's figures leave the memory when nothing was added for so long, in seconds.
_FORGET_S = 2 * 3600.0


class Recorder:
    """Figures over time, kept calls and log lines. Every method runs on the event loop.

    Args:
        predictor: Whose calls are recorded.
        thread: Where they are kept.
        options: Which calls are kept.
        traces: Gets every call, when there are traces.
        now: Seconds since the epoch.

    Attributes:
        rings: The last hour of each version.
        observers: Called with good calls of a deployment, `OBSERVED` of a version and tick.
        totals: What each version did since the server started, for metrics.
        lost: Calls and lines that were not kept because too many came, by `calls` and `lines`.
        lag_s: How late the loop came to the last tick.
        started_at: When recording began.
        lines_written: Set, and replaced by another, when lines have been written.
    """

    def __init__(
        self,
        predictor: Predictor,
        thread: InsightThread,
        options: KeepOptions,
        traces: Traces | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rings: dict[VersionKey, Ring] = {}
        self.observers: dict[tuple[str, str], Observer] = {}
        self.totals: dict[VersionKey, Totals] = {}
        self.lag_s = 0.0
        self.lost = {"calls": 0, "lines": 0}
        self.options = options
        self.traces = traces
        self.started_at = now()
        self.lines_written = asyncio.Event()
        self._predictor = predictor
        self._thread = thread
        self._now = now
        self._watched: dict[int, Watched] = {}
        self._kept: list[Kept] = []
        self._bytes = 0
        self._lines: list[LogLine] = []
        self._lines_of: Counter[tuple[str, str]] = Counter()
        self._points: list[StoredPoint] = []
        self._totals: dict[VersionKey, VersionTotal] = {}
        self._switches: list[Switch] = []
        self._gone: dict[tuple[str, str], int] = {}
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last_tick = 0.0
        predictor.on_tally = self._watch

    async def start(self) -> None:
        """Go on with what was stored, and begin to record."""
        await self._resume()
        for key, tally in self._predictor.tallies.items():
            self._watch(key, tally)
        self._last_tick = self._now()
        self._plan()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK_S
        self._timer = loop.call_at(self._due, self._tick)

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
            watched = self._watched[id(tally)] = Watched(key, tally)
            tally.keep = partial(self._answered, watched)
            self._grant(watched, 0.0)

    def _grant(self, watched: Watched, passed_s: float) -> None:
        """Say how many good calls are wanted until the next tick."""
        left = watched.grant(self.options, passed_s)
        if (watched.key.project, watched.key.deployment) in self.observers:
            watched.observed = OBSERVED
            left = max(left, OBSERVED)
        watched.tally.wanted = left if self.traces is None else EVERY

    def _answered(self, watched: Watched, call: PredictCall, answer: Answer, took_ns: int) -> None:
        """Take a call that failed or is wanted."""
        if self.traces is not None:
            self.traces.note(call, answer, took_ns)
        if self._is_gone(watched.key):
            return
        if watched.observed and not answer.code:
            watched.observed -= 1
            observe = self.observers.get((watched.key.project, watched.key.deployment))
            if observe is not None:
                observe(call, answer, took_ns)
        if call.record is None:  # an asynchronous run is kept anyway
            return
        if not answer.code:
            if watched.left <= 0:
                return
            watched.left -= 1
        if len(self._kept) >= MOST_CALLS or self._bytes >= MOST_BYTES:
            self.lost["calls"] += 1
            return
        kept = note(call, answer, took_ns, self._now(), self.options)
        self._bytes += kept.bytes_held
        self._kept.append(kept)

    def observe(self, project: str, deployment: str, observer: Observer | None) -> None:
        """Have `observer` given good calls of a deployment from now on; None: not any more."""
        self.observers.pop((project, deployment), None)
        if observer is not None:
            self.observers[project, deployment] = observer
        for watched in self._watched.values():
            if (watched.key.project, watched.key.deployment) == (project, deployment):
                self._grant(watched, 0.0)

    def add_lines(self, lines: list[LogLine]) -> None:
        """Keep log lines of one version."""
        if not lines or self._is_gone(_key(lines[0])):
            return
        name = lines[0].project, lines[0].deployment
        room = min(MOST_LINES - len(self._lines), MOST_LINES_OF_ONE - self._lines_of[name])
        kept = lines[: max(0, room)]
        self._lines += kept
        self._lines_of[name] += len(kept)
        self.lost["lines"] += len(lines) - len(kept)

    def switched(self, key: VersionKey) -> None:
        """Note that a version began to serve."""
        self._switches.append(Switch(key.project, key.deployment, key.number, self._now()))

    async def forget(self, project: str, deployment: str, last: int) -> None:
        """Forget a deployment that was deleted, and what its calls in hand are still to tell.

        Args:
            project: The project.
            deployment: The deployment.
            last: Its latest version. Numbers go on after it, so that later ones are another's.
        """
        self._gone[project, deployment] = last
        for table in (self.rings, self.totals, self._totals):
            for key in [key for key in table if self._is_gone(key)]:
                del table[key]
        self._points = [point for point in self._points if not self._is_gone(_key(point))]
        self._switches = [switch for switch in self._switches if not self._is_gone(_key(switch))]
        self._lines = [line for line in self._lines if not self._is_gone(_key(line))]
        self._kept = [kept for kept in self._kept if not self._is_gone(kept.key)]
        self._bytes = sum(kept.bytes_held for kept in self._kept)
        if self._writing is not None:
            await asyncio.wait({self._writing})
        while await self._thread.call(self._thread.store.forget, project, deployment):
            continue

    def _is_gone(self, key: VersionKey) -> bool:
        return key.number <= self._gone.get((key.project, key.deployment), 0)

    # --- the tick ---

    def _tick(self) -> None:
        self.lag_s = max(0.0, asyncio.get_running_loop().time() - self._due)
        self._plan()
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
            gone = self._is_gone(watched.key)
            totals = Totals() if gone else self.totals.setdefault(watched.key, Totals())
            point = watched.take(totals)
            self._grant(watched, passed)
            if not (gone or point.is_empty):
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
            self.totals.setdefault(key, Totals()).point.merge(point)
            self._count(key, point, now)
        elif now - ring.touched > _FORGET_S and key not in self._predictor.tallies:
            self.totals.pop(key, None)
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

    def _is_over(self, watched: Watched) -> bool:
        """Whether the version of a tally was stopped and its last call is answered."""
        tally = watched.tally
        return self._predictor.tallies.get(watched.key) is not tally and tally.in_hand <= 0

    # --- what lasts ---

    async def _write(self) -> None:
        kept, self._kept, self._bytes = self._kept, [], 0
        lines, self._lines, self._lines_of = self._lines, [], Counter()
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
        except Exception:
            log.exception("What calls did could not be written.")
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
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)


_NOTHING = Point()


def _key(of: LogLine | StoredPoint | Switch) -> VersionKey:
    return VersionKey(of.project, of.deployment, of.version)


def _stored(key: VersionKey, step_s: int, start: int, point: Point) -> StoredPoint:
    return StoredPoint(key.project, key.deployment, key.number, step_s, start, pack_point(point))


def _write(thread: InsightThread, kept: list[Kept], options: KeepOptions, batch: Batch) -> None:
    thread.store.write(batch._replace(calls=list(_records(kept, options))))


def _records(kept: list[Kept], options: KeepOptions) -> Iterator[CallRecord]:
    for one in kept:
        try:
            yield record_of(one, options)
        except Exception:  # noqa: PERF203 - one call must not cost the others their records
            log.exception("Call %s could not be kept.", one.run_id)
