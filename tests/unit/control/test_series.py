"""Figures over time where the memory and the store meet: at the start of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.control.insight.kept_calls import KeepOptions
from penstock.control.insight.points import Point
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.series import Series
from penstock.control.insight.store_thread import InsightThread
from penstock.engine.base import VersionKey
from penstock.stores.sqlite_insight import SqliteInsight

KEY = VersionKey("default", "flow", 1)
NOON = 1_700_000_040  # the beginning of a minute


class Server:
    """One start of a server that records calls of one version."""

    def __init__(self, thread: InsightThread, at: float) -> None:
        self.at = at
        predictor = cast("Any", SimpleNamespace(tallies={}, on_tally=None))
        self.recorder = Recorder(predictor, thread, KeepOptions(), now=lambda: self.at)
        self.series = Series(self.recorder, thread, lambda: self.at)

    def call(self, at: float) -> None:
        self.at = at
        point = Point()
        point.add_times(1, 1_000_000, {1: 1})
        self.recorder._add(KEY, point, at)

    async def tick(self, at: float) -> None:
        self.at = at
        self.recorder._add(KEY, None, at)
        await self.recorder._write()

    async def calls(self) -> dict[str, int]:
        found = {}
        for name in ("15m", "1h", "24h"):
            traffic = await self.series.traffic("default", "flow", None, name)
            found[name] = round(traffic.total.calls)
        return found


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[InsightThread], Awaitable[None]]], None]:
    def go(story: Callable[[InsightThread], Awaitable[None]]) -> None:
        async def whole() -> None:
            thread = await InsightThread.open(lambda: SqliteInsight(tmp_path / "insight.sqlite"))
            try:
                await story(thread)
            finally:
                await thread.close()

        asyncio.run(asyncio.wait_for(whole(), 30))

    return go


def test_calls_of_the_minute_in_which_a_server_starts_count_once(run: Any) -> None:
    async def story(thread: InsightThread) -> None:
        server = Server(thread, NOON + 10)
        await server.recorder._resume()
        server.call(NOON + 20)
        assert await server.calls() == {"15m": 1, "1h": 1, "24h": 1}
        await server.tick(NOON + 61)
        server.call(NOON + 62)
        await server.tick(NOON + 130)
        assert await server.calls() == {"15m": 2, "1h": 2, "24h": 2}

    run(story)


def test_calls_before_and_after_a_restart_within_a_minute_count_once(run: Any) -> None:
    async def story(thread: InsightThread) -> None:
        first = Server(thread, NOON - 100)
        first.call(NOON - 90)
        await first.tick(NOON + 1)
        first.call(NOON + 5)
        await first.recorder.flush()

        second = Server(thread, NOON + 20)
        await second.recorder._resume()
        second.call(NOON + 30)
        assert await second.calls() == {"15m": 3, "1h": 3, "24h": 3}
        await second.tick(NOON + 61)
        assert await second.calls() == {"15m": 3, "1h": 3, "24h": 3}

    run(story)
