"""Calls that wait for a replica, and what is left of them when nobody waits any more."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any, ClassVar

from penstock.engine.base import Answer, Body, Call, VersionKey, VersionSpec
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.options import EngineOptions

SPEC = VersionSpec(VersionKey("shop", "prices", 1), b"{}", {})

DATA = b"x" * 100_000


class Watched(Body):
    """A body that can be seen to be let go."""

    __slots__ = ("__weakref__",)


class Hung:
    """A replica that is given no calls."""

    suspect, weight, inline_bytes = True, 0, 0
    outstanding: ClassVar[dict[int, Call]] = {}


class Waiting:
    """A dispatcher without replicas, and calls that wait in it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(loop, EngineOptions(tick_s=0.005), SPEC)
        self.answers: list[Answer] = []

    def call(self, limit_s: float = 60.0, caller: str = "", age_s: float = 0.0) -> Call:
        now = time.monotonic_ns()
        body, came = Watched(DATA), now - int(age_s * 1e9)
        made = Call("run", b"raw", body, came, now + int(limit_s * 1e9), self._answered)
        made.caller = caller
        self.dispatcher.submit(made)
        return made

    def _answered(self, _call: Call, answer: Answer) -> None:
        self.answers.append(answer)


def test_a_call_that_is_given_up_while_it_waits_is_let_go_at_once():
    async def test() -> None:
        it = Waiting()
        calls = [it.call() for _ in range(50)]
        kept = calls.pop()
        left = [weakref.ref(call.body) for call in calls]
        for call in calls:
            it.dispatcher.cancel(call)
        del call
        calls.clear()
        gc.collect()
        assert not [one for one in left if one() is not None]
        assert it.dispatcher.oldest_ns() == kept.arrived_ns
        it.dispatcher.cancel(kept)
        assert (it.dispatcher.held, it.dispatcher.oldest_ns(), it.answers) == (0, 0, [])

    asyncio.run(test())


def test_a_call_whose_time_is_over_while_it_waits_is_let_go_too():
    async def test() -> None:
        it = Waiting()
        for _ in range(3):
            it.call(0.001)
        kept = it.call()
        while len(it.answers) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        assert {answer.code for answer in it.answers} == {"deadline_exceeded"}
        assert it.dispatcher.oldest_ns() == kept.arrived_ns
        it.dispatcher.cancel(kept)

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_long_queue_refuses_those_whose_own_calls_are_late_and_nobody_else():
    async def test() -> None:
        it = Waiting()
        hung: Any = Hung()
        it.dispatcher.add(hung)
        for _ in range(100):
            it.call(caller="backlog", age_s=2.0)
        while not it.dispatcher._full:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        it.call(caller="backlog")
        assert [answer.code for answer in it.answers] == ["overloaded"]
        for _ in range(10):
            it.call(caller="other")
        assert len(it.answers) == 1
        it.call(caller="slow", age_s=2.0)
        it.call(caller="slow")
        assert [answer.code for answer in it.answers] == ["overloaded"] * 2

    asyncio.run(asyncio.wait_for(test(), 60))


def test_no_more_calls_wait_than_the_version_allows_whoever_sends_them():
    async def test() -> None:
        it = Waiting()
        for number in range(SPEC.max_queue + 1):
            it.call(caller=str(number))
        assert [answer.code for answer in it.answers] == ["overloaded"]

    asyncio.run(asyncio.wait_for(test(), 60))
