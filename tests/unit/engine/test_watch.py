"""How a worker waits for its next call: asleep, or awake for a moment."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from penstock.engine.local import watch
from penstock.engine.local.watch import Watch


class _Clock:
    """Nanoseconds that pass when a test says so, and a little at each look."""

    def __init__(self) -> None:
        self.now = 0
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        self.now += 1_000
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(watch, "_now", made)
    return made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def calls(waiting: Watch, clock: _Clock, count: int, after_ns: int) -> None:
    """Let `count` calls come, each so long after the answer to the one before."""
    for _ in range(count):
        waiting.begin()
        clock.now += after_ns
        waiting.end()


def test_a_worker_sleeps_until_it_knows_that_calls_come_soon(clock, ends):
    waiting = Watch(ends[0], cores=2)
    assert not waiting.stays_awake
    calls(waiting, clock, 1, 50_000)
    assert not waiting.stays_awake
    calls(waiting, clock, 8, 50_000)
    assert waiting.stays_awake


def test_one_long_wait_after_calls_that_came_soon_puts_a_worker_to_sleep(clock, ends):
    waiting = Watch(ends[0], cores=2)
    calls(waiting, clock, 40, 100_000)
    assert waiting.stays_awake
    calls(waiting, clock, 1, 3_600_000_000_000)
    assert not waiting.stays_awake


def test_a_worker_that_stays_awake_goes_on_as_soon_as_a_call_is_there(clock, ends):
    ours, theirs = ends
    waiting = Watch(ours, cores=2)
    calls(waiting, clock, 40, 1_000)
    theirs.send(b"x")
    before = clock.looks
    waiting.begin()
    assert clock.looks == before + 1  # it looked at the clock to begin with, and never again


def test_a_worker_stays_awake_for_a_moment_only(clock, ends):
    waiting = Watch(ends[0], cores=2)
    calls(waiting, clock, 40, 1_000)
    before = clock.now
    waiting.begin()  # no call comes, and it returns all the same
    assert clock.now - before <= 300_000


def test_on_one_core_a_worker_always_sleeps(clock, ends):
    waiting = Watch(ends[0], cores=1)
    calls(waiting, clock, 40, 1_000)
    assert not waiting.stays_awake
