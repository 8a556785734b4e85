"""What keeps a pool's number of replicas in view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.engine.base import Scale
from penstock.engine.local import scaler
from penstock.engine.local.autoscale import Autoscaler
from penstock.engine.local.scaler import Scaler


class Loop:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.seconds: list[float] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        self.seconds.append(seconds)
        self.waiting.append(call)
        return self

    def cancel(self) -> None:
        self.waiting.clear()


class Clock:
    """Stands still until it is set."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


class BusyDispatcher:
    """Has more calls than replicas."""

    ready: tuple[str, ...] = ("one",)
    held = 8
    concurrency = 1
    finished = 0

    def on_busy(self, tell: Callable[[], None]) -> None:
        self.busy = tell

    def oldest_ns(self) -> int:
        return 0


class IdleDispatcher(BusyDispatcher):
    """Has no calls, and no replica is ready."""

    ready = ()
    held = 0


def test_a_measurement_that_cannot_be_judged_is_not_the_last_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(Autoscaler, "look", fail)
    loop, dispatcher = Loop(), BusyDispatcher()
    Scaler(loop, dispatcher, Scale(), 4, 1, pytest.fail, bool)  # type: ignore[arg-type]
    dispatcher.busy()
    for _ in range(3):
        loop.waiting.pop()()
    assert len(loop.waiting) == 1
    assert "The number of replicas could not be decided." in caplog.text


def test_measurements_that_cannot_be_judged_are_told_once_until_one_can_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = iter([ZeroDivisionError, ZeroDivisionError, None, ZeroDivisionError])

    def look(*_: object) -> int:
        error = next(outcomes)
        if error is not None:
            raise error
        return 1

    monkeypatch.setattr(Autoscaler, "look", look)
    loop, dispatcher = Loop(), BusyDispatcher()
    Scaler(loop, dispatcher, Scale(), 4, 1, pytest.fail, bool)  # type: ignore[arg-type]
    dispatcher.busy()
    told = []
    for _ in range(4):
        loop.waiting.pop()()
        told.append(caplog.text.count("could not be decided"))
    assert told == [1, 1, 1, 2]


def test_an_idle_pool_waits_for_a_replica_on_its_way_and_is_looked_at_once_in_a_cooldown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, loop, changes, coming = Clock(), Loop(), [], [True]
    monkeypatch.setattr(scaler, "time", clock)
    dispatcher, scale = IdleDispatcher(), Scale(0, 1, cooldown_s=60.0)
    watched = Scaler(loop, dispatcher, scale, 1, 1, changes.append, lambda: coming[0])  # type: ignore[arg-type]
    watched.started()
    for _ in range(10):
        clock.at += loop.seconds[-1]
        loop.waiting.pop()()
    assert loop.seconds == pytest.approx([60.0] * 11)
    assert changes == []
    coming[0] = False
    clock.at += 60.0
    loop.waiting.pop()()
    assert changes == [0]
    assert loop.waiting == []
