"""How many replicas a version gets, decided from measurements of a machine made up here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.engine.base import Scale
from penstock.engine.local.autoscale import CHECK_S, HOLD_S, Autoscaler, Range
from penstock.engine.local.samples import Sample
from penstock.engine.local.scaler import core_count, idle_core_seconds, range_of

TICK_S = 0.1
AUTO = Range(1, 4, 60.0, by_cores=True)


class Machine:
    """Closed-loop clients on `cores` cores; a replica answers `rate(n)` calls a second in all."""

    def __init__(
        self, allowed: Range, rate: Callable[[int], float], idle: Callable[[int], float], wanted=1
    ) -> None:
        self.auto = Autoscaler(allowed, wanted, 0.0)
        self.rate, self.idle = rate, idle
        self.clients = 0
        self.at = self.finished = self.idle_s = 0.0
        self.ready = wanted
        self.history = [wanted]
        self.asked_for_idle = 0

    def run(self, seconds: float, clients: int) -> None:
        self.clients = clients
        for _ in range(round(seconds / TICK_S)):
            self.at += TICK_S
            busy = min(clients, self.ready)
            if self.ready:
                self.finished += TICK_S * self.rate(self.ready) * busy / self.ready
            self.idle_s += TICK_S * self.idle(busy)
            self._look()

    def _look(self) -> None:
        wants = self.auto.wants_idle(self.ready, self.clients)
        self.asked_for_idle += wants
        idle = self.idle_s if wants else None
        waited = 0.001 * self.clients
        sample = Sample(self.at, self.ready, self.clients, waited, int(self.finished), idle)
        wanted = self.auto.look(sample)
        if wanted != self.history[-1]:
            self.history.append(wanted)
        self.ready = wanted


def heavy(cores: int, allowed: Range = AUTO, wanted: int = 1) -> Machine:
    """Replicas that use a core each, on a machine with so many."""
    return Machine(allowed, lambda n: 330.0 * min(n, cores), lambda busy: cores - busy, wanted)


def test_a_bottleneck_gets_the_idle_cores_within_a_second():
    machine = heavy(cores=2)
    machine.run(0.9, clients=16)
    assert machine.auto.wanted == 2
    machine.run(5, clients=16)
    assert machine.history == [1, 2]
    assert machine.auto.why == "replica 2 helps: 2×"


def test_four_cores_are_filled_one_after_the_other():
    machine = heavy(cores=4)
    machine.run(6, clients=32)
    assert machine.history == [1, 2, 3, 4]


def test_one_client_never_needs_a_second_replica():
    machine = heavy(cores=4)
    machine.run(30, clients=1)
    assert machine.history == [1]
    assert machine.asked_for_idle == 0


def test_no_replica_is_tried_where_the_cores_are_busy():
    machine = Machine(AUTO, lambda n: 50_000.0, lambda busy: 0.2)
    machine.run(60, clients=64)
    assert machine.history == [1]


def test_a_replica_that_does_not_help_goes_and_is_tried_again_later_and_later():
    machine = Machine(AUTO, lambda n: 50_000.0 * (1 + 0.04 * (n - 1)), lambda busy: 0.9)
    machine.run(2, clients=64)
    assert machine.history == [1, 2, 1]
    assert machine.auto.why == "replica 2 was dropped: no gain (1.04×)"
    machine.run(HOLD_S - 2, clients=64)
    assert machine.history == [1, 2, 1]
    machine.run(60 - HOLD_S, clients=64)
    assert machine.history == [1, 2, 1, 2, 1, 2, 1]
    machine.run(540, clients=64)
    assert len(machine.history) < 2 * 8


def test_a_replica_that_was_thought_to_help_is_found_out_by_the_check():
    machine = heavy(cores=2)
    machine.run(3, clients=64)
    assert machine.history == [1, 2]
    machine.rate = lambda n: 700.0 * (1 - 0.15 * (n - 1))
    machine.run(CHECK_S - 4, clients=64)
    assert machine.history == [1, 2]
    machine.run(4, clients=64)
    assert machine.history == [1, 2, 1]
    assert machine.auto.why == "replica 2 was dropped: no gain (0.85×)"


def test_a_replica_that_helped_with_another_load_is_found_out_soon():
    machine = heavy(cores=2)
    machine.run(3, clients=64)
    assert machine.history == [1, 2]
    machine.rate = lambda n: 50_000.0 * (1 - 0.15 * (n - 1))
    machine.run(8, clients=64)
    assert machine.history == [1, 2, 1]


def few_rows(n: int) -> float:
    return 30_000.0 * (1 - 0.2 * (n - 1))


def many_rows(n: int) -> float:
    return 8_000.0 * (1 + 0.3 * (n - 1))


def test_a_replica_that_did_not_help_is_tried_soon_with_another_load():
    machine = Machine(AUTO._replace(high=2), few_rows, lambda busy: 0.9)
    machine.run(2, clients=64)
    assert machine.history == [1, 2, 1]
    machine.rate = many_rows
    machine.run(1.2, clients=64)
    assert machine.history == [1, 2, 1, 2]
    machine.run(5, clients=64)
    assert machine.history == [1, 2, 1, 2]
    assert machine.auto.why == "replica 2 helps: 1.3×"


def test_a_replica_that_did_not_help_is_tried_soon_with_more_calls_in_hand():
    machine = Machine(AUTO, few_rows, lambda busy: 0.9)
    machine.run(2, clients=16)
    assert machine.history == [1, 2, 1]
    machine.run(2, clients=64)
    assert machine.history == [1, 2, 1, 2, 1]


def test_a_pause_within_a_trial_does_not_count():
    machine = Machine(AUTO._replace(high=2), many_rows, lambda busy: 0.9)
    machine.run(1.0, clients=64)
    assert machine.history == [1, 2]
    machine.run(0.3, clients=0)
    machine.run(0.8, clients=64)
    assert machine.auto.why == "replica 2 is on trial: calls wait"
    machine.run(0.4, clients=64)
    assert machine.auto.why == "replica 2 helps: 1.3×"


def test_a_trial_whose_load_is_another_after_a_pause_is_made_anew():
    machine = Machine(AUTO._replace(high=2), few_rows, lambda busy: 0.9)
    machine.run(1.0, clients=64)
    machine.run(0.3, clients=0)
    machine.rate = many_rows
    machine.run(5, clients=64)
    assert machine.auto.why == "replica 2 helps: 1.3×"


def test_a_load_that_pauses_again_and_again_does_not_keep_a_needed_replica_out():
    machine = heavy(cores=2)
    machine.run(8, clients=64)
    out = 0
    for _ in range(300):
        machine.run(0.8, clients=64)
        machine.run(0.2, clients=0)
        out += machine.auto.wanted == 1
    assert out < 60


def test_bursts_too_short_to_judge_by_do_not_change_the_number_at_every_one():
    machine = heavy(cores=2)
    for _ in range(150):
        machine.run(1.0, clients=32)
        machine.run(1.0, clients=0)
    assert machine.auto.wanted == 2
    assert len(machine.history) < 20


def test_a_server_that_stood_still_for_a_while_goes_on_deciding():
    machine = heavy(cores=2)
    machine.run(0.1, clients=32)
    machine.at += 5.0
    machine.finished += 500
    machine.idle_s += 5.0
    machine.run(3.0, clients=32)
    assert machine.auto.wanted == 2


def test_loads_that_take_turns_each_get_the_number_that_is_good_for_them():
    machine = Machine(AUTO._replace(high=2), few_rows, lambda busy: 0.9)
    for _ in range(40):
        machine.rate = few_rows
        machine.run(5, clients=64)
        assert machine.auto.wanted == 1
        machine.rate = many_rows
        machine.run(5, clients=64)
        assert machine.auto.wanted == 2


def test_loads_that_take_turns_and_gain_nothing_are_judged_ever_more_seldom():
    machine = Machine(AUTO, few_rows, lambda busy: 0.9)
    for _ in range(60):
        machine.run(5, clients=16)
        machine.run(5, clients=64)
    assert len(machine.history) < 2 * 2 * 8


def test_a_replica_that_helps_is_left_out_for_two_seconds_at_most_and_ever_more_seldom():
    machine = heavy(cores=2)
    machine.run(600, clients=64)
    assert machine.history == [1] + [2, 1] * 4 + [2]  # after 30, 60, 120, 240 s
    assert machine.auto.why == "replica 2 helps: 2×"
    assert machine.finished > 0.98 * 600 * 660


def test_a_check_waits_for_a_load_that_shows_a_difference():
    machine = heavy(cores=2)
    machine.run(3, clients=64)
    machine.run(CHECK_S, clients=1)
    assert machine.history == [1, 2]
    machine.run(3, clients=64)
    assert machine.history == [1, 2, 1, 2]


def test_a_check_whose_load_goes_away_leaves_the_replica_out():
    machine = heavy(cores=2)
    machine.run(CHECK_S + 3, clients=64)
    while machine.auto.wanted == 2:
        machine.run(0.1, clients=64)
    machine.run(2, clients=0)
    assert machine.auto.why == "1 do: fewer calls come"
    machine.run(3, clients=64)
    assert machine.auto.wanted == 2


def test_a_maximum_that_was_named_does_not_ask_for_idle_cores():
    waits = Machine(Range(1, 3, 60.0, by_cores=False), lambda n: 20.0 * n, lambda busy: 0.0)
    waits.run(10, clients=8)
    assert waits.history == [1, 2, 3]
    assert waits.asked_for_idle == 0


def test_slow_calls_that_wait_get_a_replica_though_their_pace_is_not_known():
    slow = Machine(AUTO, lambda n: 0.5 * n, lambda busy: 3.0)
    slow.run(0.6, clients=8)
    assert slow.auto.wanted == 2
    assert "slow" in slow.auto.why


def test_a_trial_that_loses_its_load_keeps_the_replica_until_the_cooldown():
    machine = heavy(cores=2)
    machine.run(0.6, clients=16)
    for _ in range(100):
        machine.run(0.1, clients=1)
        machine.run(0.1, clients=0)
    assert machine.history == [1, 2]
    for _ in range(220):
        machine.run(0.1, clients=1)
        machine.run(0.1, clients=0)
    assert machine.history == [1, 2, 1]
    assert machine.auto.why == "1 did for 60 s"


def test_a_trial_that_lost_its_load_goes_on_when_the_load_is_back():
    machine = Machine(AUTO, lambda n: 50_000.0 / n, lambda busy: 0.9)
    machine.run(0.6, clients=64)
    machine.run(3, clients=0)
    assert machine.history == [1, 2]
    assert "judge" in machine.auto.why
    machine.run(2, clients=64)
    assert machine.history == [1, 2, 1]
    assert machine.auto.why == "replica 2 was dropped: no gain (0.50×)"


def test_an_instant_between_two_rounds_does_not_save_a_replica_that_does_not_help():
    auto = Autoscaler(AUTO, 1, 0.0)
    finished, idle_s, ready = 0, 0.0, 1
    for tick in range(40):
        # All callers were just answered and send again: for an instant nothing is in hand.
        held = 0 if ready == 2 and tick % 2 else 64
        ready = auto.look(Sample(tick * TICK_S, ready, held, 0.001, finished, idle_s))
        finished += 2000
        idle_s += TICK_S
    assert auto.wanted == 1
    assert "dropped: no gain" in auto.why


def test_without_calls_the_extra_replicas_go_after_the_cooldown_all_at_once():
    machine = heavy(cores=4)
    machine.run(6, clients=32)
    machine.run(59, clients=0)
    assert machine.auto.wanted == 4
    machine.run(2, clients=0)
    assert machine.history == [1, 2, 3, 4, 1]
    assert machine.auto.why == "no call for 60 s"


def test_a_replica_too_many_does_not_keep_the_others_away_after_a_rest():
    machine = heavy(cores=2, allowed=Range(1, 4, 60.0, by_cores=False))
    machine.run(200, clients=32)
    assert machine.auto.wanted == 2
    machine.run(61, clients=0)
    assert machine.auto.wanted == 1
    machine.rate = lambda n: 400.0 * min(n, 2)
    machine.run(1, clients=32)
    assert machine.auto.wanted == 2


def test_a_minimum_of_zero_sleeps_after_the_cooldown_and_wakes_to_one():
    machine = heavy(cores=2, allowed=Range(0, 2, 5.0, by_cores=True))
    machine.run(3, clients=1)
    machine.run(4.8, clients=0)
    assert machine.auto.wanted == 1
    machine.run(0.4, clients=0)
    assert machine.auto.wanted == 0
    assert machine.auto.why == "asleep: no call for 5 s"
    assert machine.auto.rest_s(machine.at) is None
    assert machine.auto.wake(machine.at) == 1


def test_an_idle_version_is_looked_at_again_only_when_its_cooldown_is_over():
    assert Autoscaler(AUTO, 1, 0.0).rest_s(3.0) is None
    assert Autoscaler(Range(0, 1, 5.0, by_cores=False), 1, 0.0).rest_s(3.0) == pytest.approx(2.0)


def idle_sample(at: float, ready: int, *, coming: bool = False) -> Sample:
    return Sample(at, ready, 0, 0.0, 0, None, coming)


@pytest.mark.parametrize(("low", "ready"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_replicas_that_never_come_do_not_keep_an_idle_version_from_its_rest(low, ready):
    auto = Autoscaler(Range(low, 2, 5.0, by_cores=False), 2, 0.0)
    assert auto.look(idle_sample(4.9, ready)) == 2
    assert auto.look(idle_sample(5.0, ready)) == low
    assert auto.rest_s(5.0) is None


def test_a_replica_that_takes_longer_to_come_than_the_cooldown_is_waited_for():
    auto = Autoscaler(Range(0, 1, 5.0, by_cores=False), 1, 0.0)
    assert auto.look(idle_sample(5.0, 0, coming=True)) == 1
    assert auto.rest_s(5.0) == pytest.approx(5.0)
    assert auto.look(idle_sample(10.0, 1)) == 1
    assert auto.rest_s(10.0) == pytest.approx(5.0)
    assert auto.look(idle_sample(15.0, 1)) == 0


def test_a_version_whose_replicas_fail_goes_on_trying_as_long_as_it_is_called():
    auto = Autoscaler(Range(0, 2, 5.0, by_cores=False), 2, 0.0)
    for second in range(60):
        assert auto.look(Sample(float(second), 0, 0, 0.0, second, None)) == 2


@pytest.mark.parametrize(
    ("wanted", "allowed", "then"),
    [
        (1, Range(2, 4, 60, by_cores=False), 2),
        (4, Range(1, 2, 60, by_cores=False), 2),
        (0, Range(0, 4, 60, by_cores=False), 0),
        (0, Range(1, 4, 60, by_cores=False), 1),
        (3, Range(0, 4, 60, by_cores=False), 3),
    ],
)
def test_new_limits_hold_at_once(wanted, allowed, then):
    assert Autoscaler(AUTO, wanted, 0.0).allow(allowed) == then


def test_a_fixed_number_never_changes():
    machine = heavy(cores=4, allowed=Range(2, 2, 60.0, by_cores=False), wanted=2)
    machine.run(10, clients=32)
    machine.run(100, clients=0)
    assert machine.history == [2]


def test_where_no_maximum_is_named_it_is_the_machines():
    assert range_of(Scale(), 8) == Range(1, 8, 60.0, by_cores=True)
    assert range_of(Scale(0, 3, 5.0), 8) == Range(0, 3, 5.0, by_cores=False)
    assert range_of(Scale(9), 8).high == 9


def test_the_machine_tells_its_cores_and_their_idle_time():
    assert core_count() >= 1
    first, second = idle_core_seconds(), idle_core_seconds()
    assert first is None or 0 < first <= second


def test_calls_that_become_slow_when_a_replica_is_to_be_checked_get_more_replicas():
    machine = heavy(cores=4)
    machine.run(3.0, clients=4)
    assert machine.ready >= 2
    before = machine.ready
    machine.run(CHECK_S, clients=before)  # none waits: nothing is checked
    machine.rate = lambda n: 2.0 * n
    machine.run(60.0, clients=16)
    assert machine.ready == 4


def test_a_maximum_that_is_named_while_a_replica_is_left_out_is_kept_to():
    machine = heavy(cores=3)
    machine.run(5.0, clients=16)
    assert machine.ready == 3
    while machine.ready == 3:
        machine.run(TICK_S, clients=16)
    machine.auto.allow(Range(1, 2, 60.0, by_cores=False))
    machine.run(60.0, clients=16)
    assert machine.ready == 2
