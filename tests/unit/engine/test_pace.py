"""How a worker chooses the size of its rounds: from what earlier rounds cost, never by a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.engine.local.pace import ROUND_CALLS, Pace

MICRO, MILLI = 1_000, 1_000_000


class Costs:
    """A service of which only the cost of a round is known."""

    def __init__(self, fixed_ns: int, each_ns: int, *, joins: bool, together: int = 0) -> None:
        self.round_ns: Callable[[int], int] = lambda calls: fixed_ns + each_ns * calls
        self.joins = joins
        self.together = together

    def answer(self, calls: list[CallFrame]) -> Sequence[ReplyFrame]:
        raise AssertionError("a pace never answers")

    def facts(self) -> dict[str, Any]:
        return {}


def settled(service: Costs, waiting: int = ROUND_CALLS, rounds: int = 300) -> int:
    """Return the size of the rounds once the pace has seen many of them."""
    pace, sizes = Pace(), []
    left = 0
    for number in range(rounds):
        left = left or (waiting if number % 7 else 3)
        size = pace.size(service, left)
        assert 1 <= size <= left
        pace.learn(size, service.round_ns(size))
        left -= size
        sizes.append(size)
    return sorted(sizes[-100:])[50]


def test_slow_calls_that_share_nothing_are_taken_one_by_one() -> None:
    assert settled(Costs(10 * MICRO, 5 * MILLI, joins=False)) == 1


def test_quick_calls_are_taken_in_short_rounds_so_that_server_and_worker_overlap() -> None:
    size = settled(Costs(8 * MICRO, 10 * MICRO, joins=False))
    assert 6 <= size <= 16


def test_the_fixed_cost_of_a_joined_call_is_shared_by_many() -> None:
    costs = Costs(210 * MICRO, 20 * MICRO, joins=True)
    size = settled(costs)
    assert 0.25 * costs.round_ns(size) > 210 * MICRO
    assert size <= ROUND_CALLS / 2


def test_of_few_waiting_calls_half_are_left_for_the_server_to_work_on() -> None:
    assert 14 <= settled(Costs(210 * MICRO, 20 * MICRO, joins=True), waiting=64) <= 32


def test_a_costly_joined_call_gets_a_long_round_although_one_call_alone_is_long_already() -> None:
    assert settled(Costs(8 * MILLI, 50 * MICRO, joins=True)) >= 100


def test_calls_that_share_nothing_never_wait_for_a_long_round() -> None:
    service = Costs(8 * MILLI, 50 * MICRO, joins=False)
    assert service.round_ns(settled(service)) <= service.round_ns(1) + 2 * MILLI


def test_what_waits_is_dealt_in_equal_rounds() -> None:
    pace = Pace()
    service = Costs(0, MILLI, joins=False, together=4)
    assert pace.size(service, 9) == 3
    assert pace.size(service, 4) == 4
    assert pace.size(service, 1) == 1


def test_a_round_never_has_more_than_the_most_calls() -> None:
    service = Costs(50 * MILLI, MICRO, joins=True)
    assert settled(service, waiting=3 * ROUND_CALLS) <= ROUND_CALLS


@pytest.mark.parametrize("joins", [True, False])
def test_a_service_that_becomes_slow_is_noticed_at_once(joins: bool) -> None:
    pace, quick = Pace(), Costs(8 * MICRO, 10 * MICRO, joins=joins)
    for size in (1, 5, 12, 7, 12, 12, 3, 12) * 8:
        pace.learn(size, quick.round_ns(size))
    before = pace.size(quick, 64)
    slow = Costs(0, 20 * MILLI, joins=joins)
    for _ in range(4):
        size = pace.size(slow, 64)
        pace.learn(size, slow.round_ns(size))
    assert pace.size(slow, 64) < before
    assert joins or pace.size(slow, 64) == 1
