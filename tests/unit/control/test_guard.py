"""When a new version is judged to fail, from its counts alone."""

from __future__ import annotations

import os
from typing import cast

import pytest

from penstock.codec import memfile
from penstock.control.guard import Count, Judge, hand_over
from penstock.control.predict import Predictor, predict_path
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Body, Call, Pool, VersionKey

ADMIN = KeyRecord("k", b"", "pk_a_1", Scope.ADMIN, None, "", 0.0)
NOTHING = Count(0, 0, 0, 0)


def judge(functions: bool = True) -> Judge:
    return Judge(NOTHING, 20, functions)


def test_a_version_that_answers_is_left_alone() -> None:
    one = judge()
    assert not [n for n in range(1000) if one.verdict(Count(0, n, 0, 0))]


def test_three_deaths_without_a_good_answer_are_a_crash_loop() -> None:
    one = judge()
    assert one.verdict(Count(2, 0, 2, 0)) == ""
    assert "died 3 times" in one.verdict(Count(3, 0, 3, 0))


def test_deaths_with_good_answers_between_them_are_not() -> None:
    one = judge()
    for n in range(1, 30):
        assert one.verdict(Count(n, 10 * n, n, 0)) == ""


def test_more_than_half_of_the_calls_dead_or_overdue_is_failing() -> None:
    one = judge()
    assert one.verdict(Count(0, 10, 10, 0)) == ""
    assert "11 of its last 21 calls" in judge().verdict(Count(0, 10, 11, 0))


def test_too_few_calls_say_nothing() -> None:
    assert judge().verdict(Count(0, 0, 19, 0)) == ""


def test_a_version_that_begins_to_fail_after_many_good_calls_is_noticed_soon() -> None:
    one = judge()
    assert one.verdict(Count(0, 10_000, 0, 0)) == ""
    said = [one.verdict(Count(0, 10_000, n, 0)) for n in range(1, 21)]
    assert said[-1]


@pytest.mark.parametrize(("good", "fails"), [(0, True), (1, False)])
def test_functions_count_only_when_they_fail_every_call(good: int, fails: bool) -> None:
    assert bool(judge().verdict(Count(0, good, 0, 20))) is fails


def test_functions_count_only_when_they_shall() -> None:
    assert judge(functions=False).verdict(Count(0, 0, 0, 500)) == ""


def test_trouble_since_the_last_good_answer_makes_a_version_doubtful() -> None:
    one = judge()
    assert not one.doubtful
    one.verdict(Count(1, 0, 1, 0))
    assert one.doubtful
    one.verdict(Count(1, 5, 1, 0))
    assert not one.doubtful


def test_a_call_that_is_turned_away_leaves_no_descriptor_open() -> None:
    told: list[str] = []

    def answered(_call: Call, answer: Answer) -> None:
        told.append(answer.code)

    fd, size = memfile.create([b"a large body"])
    call = Call("run", b"raw", Body(None, fd, size), 0, 1, answered)
    hand_over([call])
    assert told == ["not_ready"]
    assert call.body.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


class Heir:
    """Takes calls and keeps them."""

    def __init__(self, number: int) -> None:
        self.key = VersionKey("default", "flow", number)
        self.calls: list[Call] = []

    def submit(self, call: Call) -> None:
        self.calls.append(call)


def test_a_call_that_is_handed_over_is_in_the_hands_of_its_new_version_only() -> None:
    predictor = Predictor(lambda _raw: ADMIN)
    old, new = Heir(2), Heir(1)
    predictor.set_route("default", "flow", None, cast("Pool", old), 1.0)
    route = predictor.routes[predict_path("default", "flow")]
    call = predictor.start(route, ADMIN, b"", Body(b"[1]"), lambda *_: None)
    left = call.tally
    predictor.set_route("default", "flow", None, cast("Pool", new), 1.0)
    hand_over([call])
    assert new.calls == [call]
    assert (left.in_hand, route.tally.in_hand) == (0, 1)
