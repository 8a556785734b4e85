"""Twice as many calls as a flow can answer: it goes on at its pace, the rest is refused at once."""

from __future__ import annotations

import asyncio
from typing import Any

from open_loop import drive
from versioned import put

from penstock import model_type


def slow() -> list[Any]:
    def model(value: Any) -> Any:
        import time

        time.sleep(0.01)
        return value

    return [(model_type.PYTHON, model)]


def test_what_cannot_be_answered_in_time_is_refused_with_when_to_come_again(server: Any) -> None:
    endpoint = str(put(server, slow(), "rush", max_batch=1, replicas=1))
    key = server.keys["predict"]
    rush = asyncio.run(drive(endpoint, key, 250.0, lambda now: now >= 4))
    print(f"\n{rush.statuses()}, refused in {1e3 * rush.percentile(0.5, 429):.0f} ms (median)")
    assert set(rush.statuses()) == {200, 429}
    refused = [s for s in rush.samples if s.status == 429]
    assert all(int(s.retry_after) >= 1 for s in refused)
    after = asyncio.run(drive(endpoint, key, 20.0, lambda now: now >= 1))
    assert after.failed == []


def test_a_queue_is_as_long_as_the_deploy_says(server: Any) -> None:
    endpoint = str(put(server, slow(), "short-queue", max_batch=1, max_queue=5, replicas=1))
    sent: list[int] = []

    def body(number: int) -> bytes:
        sent.append(number)
        return b"[[1.0]]"

    key = server.keys["predict"]
    burst = asyncio.run(drive(endpoint, key, 1e5, lambda _now: len(sent) >= 50, body))
    assert len(burst.samples) > 20
    assert burst.statuses()[429] >= len(burst.samples) - 15
    assert burst.statuses()[200] >= 5
