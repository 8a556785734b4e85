"""Takes a new version out of service when it starts failing within its first minutes.

`Serving` tells of every switch; a version that took over from one with a lower number is watched
until its first minutes are over. When its workers keep dying, or its calls keep failing, the
version before it serves again: started first, then switched to like in any activation, so that no
request fails because of the return itself. The failed version becomes `withdrawn` and keeps the
reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from penstock.control.pools import key_of
from penstock.control.predict import Answer, Call, PredictCall
from penstock.control.run_payloads import discard
from penstock.control.serving import Serving
from penstock.control.tally import Tally
from penstock.core.errors import (
    BY_CODE,
    DeadlineExceeded,
    FlowError,
    NotReady,
    PenstockError,
    VersionWithdrawn,
    WorkerDied,
)
from penstock.core.records import VersionRecord
from penstock.core.states import VersionState
from penstock.engine.base import Pool

log = logging.getLogger("penstock.versions")

Name = tuple[str, str]

#: Seconds between two looks at a version that is watched.
LOOK_S = 0.1

#: Deaths without a good answer between them, after which a version counts as crash-looping.
DEATHS = 3

#: Share of calls that end in an error of the engine, above which a version counts as failing.
ENGINE_SHARE = 0.5

#: How many of the worker's last lines go with the reason.
LOG_LINES = 50

_ENGINE = frozenset({WorkerDied.code, DeadlineExceeded.code})
_FLOW = frozenset(code for code, kind in BY_CODE.items() if issubclass(kind, FlowError))


@dataclass(frozen=True)
class Count:
    """What a version has done so far: deaths of workers, and answers by kind.

    Errors that the caller caused, and refusals, are in none of the three.
    """

    deaths: int
    good: int
    engine: int
    flow: int

    @property
    def calls(self) -> int:
        """Calls that say something about the version."""
        return self.good + self.engine + self.flow

    def since(self, other: Count) -> Count:
        """Return what came after `other`."""
        return Count(
            self.deaths - other.deaths,
            self.good - other.good,
            self.engine - other.engine,
            self.flow - other.flow,
        )


def count_of(pool: Pool, tally: Tally | None) -> Count:
    """Return what the version of `pool` has done."""
    if tally is None:
        return Count(pool.health().deaths, 0, 0, 0)
    codes = tally.codes
    engine = sum(codes.get(code, 0) for code in _ENGINE)
    flow = sum(codes.get(code, 0) for code in _FLOW)
    return Count(pool.health().deaths, tally.answered - tally.errors, engine, flow)


class Judge:
    """Decides from the counts of one running version, as they come, whether it fails.

    Args:
        first: The counts at the beginning.
        least_calls: Calls that must be answered before errors count.
        judge_functions: Whether functions and models that fail every call count.
    """

    def __init__(self, first: Count, least_calls: int, judge_functions: bool) -> None:
        self._least = least_calls
        self._functions = judge_functions
        self._well = first
        self._now = first
        self._seen: deque[Count] = deque([first])

    @property
    def doubtful(self) -> bool:
        """Whether there was nothing but trouble since the last good answer, or ever."""
        last = self._now.since(self._well)
        return last.deaths > 0 or last.engine + last.flow > 0

    def verdict(self, now: Count) -> str:
        """Return why the version fails, as the end of a sentence; empty when it does not."""
        self._now = now
        if now.good > self._well.good:
            self._well = now
        deaths = now.since(self._well).deaths
        if deaths >= DEATHS:
            return f"its workers died {deaths} times without a good answer"
        last = self._last_calls(now)
        if last.calls < self._least:
            return ""
        if last.engine > ENGINE_SHARE * last.calls:
            return f"{last.engine} of its last {last.calls} calls died or ran out of time"
        if self._functions and last.flow == last.calls:
            return f"its functions or models failed all of its last {last.calls} calls"
        return ""

    def _last_calls(self, now: Count) -> Count:
        """Return the latest answers: as few as can be told apart, but no less than asked for."""
        seen = self._seen
        if now.calls != seen[-1].calls:
            seen.append(now)
        while len(seen) > 1 and now.since(seen[1]).calls >= self._least:
            seen.popleft()
        return now.since(seen[0])


@dataclass
class _Watch:
    """A version in its first minutes, and where to return to."""

    record: VersionRecord
    fallback: VersionRecord
    pool: Pool | None = None
    judge: Judge | None = None
    task: asyncio.Task[None] | None = None


class Guard:
    """The versions in their first minutes. Every method runs on the event loop.

    Args:
        serving: Routes and pools; `watch` is told of its switches.
        window_s: Length of the first minutes, in seconds.
        least_calls: Calls that must be answered before errors count.
        judge_functions: Whether functions and models that fail every call count.
    """

    def __init__(
        self, serving: Serving, *, window_s: float, least_calls: int, judge_functions: bool
    ) -> None:
        self._serving = serving
        self._window_s = window_s
        self._least = least_calls
        self._functions = judge_functions
        self._watched: dict[Name, _Watch] = {}

    def watch(self, record: VersionRecord, before: VersionRecord | None) -> None:
        """Watch a version that has just taken over from `before`, if it is a new one."""
        name = (record.project, record.deployment)
        earlier = self._watched.pop(name, None)
        if earlier is not None and earlier.task is not None:
            earlier.task.cancel()
        if before is None or before.number >= record.number or not record.settings.auto_rollback:
            return
        fallback = before
        if earlier is not None and earlier.judge is not None and earlier.judge.doubtful:
            fallback = earlier.fallback  # the version before was in trouble itself
        self._begin(_Watch(record, fallback), self._window_s)

    def resume(self, record: VersionRecord, before: VersionRecord | None) -> None:
        """Go on watching a version that serves again after the server started."""
        if before is None or record.ready_at is None or not record.settings.auto_rollback:
            return
        left = record.ready_at + self._window_s - self._serving.now()
        if left > 0:
            self._begin(_Watch(record, before), left)

    def _begin(self, watch: _Watch, seconds: float) -> None:
        name = (watch.record.project, watch.record.deployment)
        self._watched[name] = watch
        watch.task = asyncio.create_task(self._follow(name, watch, seconds))

    async def _follow(self, name: Name, watch: _Watch, seconds: float) -> None:
        try:
            verdict = await self._until_it_fails(name, watch, seconds)
            if verdict:
                await self._return_from(watch, verdict)
        except Exception:
            log.exception("Watching %s failed.", key_of(watch.record))
        finally:
            if watch.pool is not None:
                watch.pool.keep_waiting(False)
            if self._watched.get(name) is watch:
                del self._watched[name]

    async def _until_it_fails(self, name: Name, watch: _Watch, seconds: float) -> str:
        """Return why the version fails; empty when it is past its first minutes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            pool = self._serving.active_pool(*name)
            if pool is not None:
                now = count_of(pool, self._serving.tally(*name))
                if watch.judge is None or pool is not watch.pool:
                    pool.keep_waiting(True)
                    watch.pool = pool
                    watch.judge = Judge(now, self._least, self._functions)
                verdict = watch.judge.verdict(now)
                if verdict:
                    return verdict
            await asyncio.sleep(LOOK_S)
        return ""

    async def _return_from(self, watch: _Watch, verdict: str) -> None:
        """Let the fallback serve again, and note why on the version that failed."""
        record, fallback, serving = watch.record, watch.fallback, self._serving
        name = (record.project, record.deployment)
        async with serving.lock(*name):
            if serving.active_record(*name) is not record or watch.pool is None:
                return
            log.error("%s is withdrawn: %s.", key_of(record), verdict)
            lines = watch.pool.logs()[-LOG_LINES:]
            try:
                pool = await serving.pools.start(fallback)
            except PenstockError as error:
                log.error("%s cannot take over: %s", key_of(fallback), error)
                return
            del self._watched[name]  # or the switch would cancel this task
            await serving.activate(fallback, pool)
            hand_over(watch.pool.release())
            await self._mark(record, withdrawn(record, fallback, verdict, lines))

    async def _mark(self, record: VersionRecord, error: VersionWithdrawn) -> None:
        database = self._serving.database
        await database.call(
            database.records.set_version_state,
            record.project,
            record.deployment,
            record.number,
            VersionState.WITHDRAWN,
            at=self._serving.now(),
            failure=error.to_dict(),
        )


def withdrawn(
    record: VersionRecord, fallback: VersionRecord, verdict: str, lines: list[str]
) -> VersionWithdrawn:
    """Return what is kept with a version that was taken out of service."""
    return VersionWithdrawn(
        f"Version {record.number} of {record.deployment} was withdrawn in its first minutes: "
        f"{verdict}. Version {fallback.number} serves again.",
        hint="Deploy a mended version, or activate this one by hand.",
        returned_to=fallback.number,
        logs=lines,
    )


def hand_over(calls: Iterable[Call]) -> None:
    """Give calls that their pool released to the pool that serves their path now.

    Calls that came in by the number of their version belong to it: they are turned away.
    """
    for call in calls:
        pool = _heir_of(call)
        if pool is None:
            _turn_away(call)
            continue
        moved = cast("PredictCall", call)
        moved.tally.calls -= 1  # or the version that it leaves would have it in hand for good
        moved.pool, moved.tally = pool, moved.route.tally
        moved.tally.calls += 1
        pool.submit(moved)


def _heir_of(call: Call) -> Pool | None:
    if not isinstance(call, PredictCall) or call.route.number is not None:
        return None
    return call.route.pool if call.route.pool is not call.pool else None


def _turn_away(call: Call) -> None:
    error = NotReady(
        "The version was withdrawn while the call waited for it.",
        hint="Try again.",
        retry_after_s=1,
    )
    discard(call.body)
    call.on_done(call, Answer(error.code, error=error))
