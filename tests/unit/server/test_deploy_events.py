"""The events of a deploy, for a client that does not read them."""

from __future__ import annotations

import asyncio

from penstock.control.events import DeployEvent, LogEvent, StepEvent
from penstock.server.routes.versions import MOST_WAITING, put_event


def test_a_flood_of_lines_that_nobody_reads_does_not_fill_the_memory() -> None:
    events: asyncio.Queue[DeployEvent] = asyncio.Queue()
    for number in range(10 * MOST_WAITING):
        put_event(events, LogEvent(f"line {number}"))
    put_event(events, StepEvent("activating", "Switching the endpoint over."))
    put_event(events, LogEvent("never seen"))
    assert events.qsize() == MOST_WAITING + 2
    kept = [events.get_nowait() for _ in range(MOST_WAITING + 2)]
    assert kept[MOST_WAITING - 1] == LogEvent(f"line {MOST_WAITING - 1}")
    assert "left out" in getattr(kept[MOST_WAITING], "line", "")
    assert isinstance(kept[-1], StepEvent)
    put_event(events, LogEvent("seen again"))
    assert events.get_nowait() == LogEvent("seen again")
