"""Asking for log lines that are still to come."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from penstock.control.insight.run_logs import Logs
from penstock.core.insight_records import LogFilter


class Thread:
    """A store without lines."""

    store = SimpleNamespace(lines=None)

    async def call(self, _function: Any, *_: Any, **__: Any) -> list[Any]:
        return []


def logs_of(now: Any) -> Logs:
    recorder = SimpleNamespace(lines_written=asyncio.Event())
    return Logs(cast("Any", recorder), cast("Any", Thread()), now)


def test_who_waited_in_vain_for_a_line_leaves_nothing_behind() -> None:
    async def story() -> None:
        logs, before = logs_of(lambda: 0.0), asyncio.all_tasks()
        for _ in range(5):
            found = await logs.lines(LogFilter("default"), 10, after=3, wait_s=0.01)
            assert (found.lines, found.last) == ([], 3)
        asked = asyncio.create_task(logs.lines(LogFilter("default"), 10, after=3, wait_s=60))
        await asyncio.sleep(0.01)
        asked.cancel()  # the client goes away
        await asyncio.wait({asked})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(story(), 20))
