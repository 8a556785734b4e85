"""Calls that wait for a replica are taken from their callers in turn."""

from __future__ import annotations

import random
from itertools import count

from penstock.engine.base import Body, Call
from penstock.engine.local.fair_queue import FairQueue

_arrivals = count(1)


def call(caller: str, size: int = 100) -> Call:
    made = Call("run", b"raw", Body(b"x" * size), next(_arrivals), 0, lambda *_: None)
    made.caller = caller
    return made


def taken(queue: FairQueue, number: int) -> list[str]:
    return [queue.take().caller for _ in range(number)]


def test_one_caller_s_calls_keep_their_order():
    queue = FairQueue()
    calls = [call("a", size) for size in (5, 5000, 1, 300)]
    for one in calls:
        queue.append(one)
    assert [queue.take() for _ in calls] == calls
    assert not len(queue)


def test_callers_take_turns_however_many_calls_each_has():
    queue = FairQueue()
    for caller in ["a"] * 50 + ["b"] * 3 + ["c"]:
        queue.append(call(caller))
    first = taken(queue, 7)
    assert (first.count("a"), first.count("b"), first.count("c")) == (3, 3, 1)
    assert taken(queue, 47) == ["a"] * 47


def test_turns_are_by_work_not_by_calls():
    queue = FairQueue()
    for _ in range(40):
        queue.append(call("large", 100_000))
        queue.append(call("small", 100))
    first = taken(queue, 41)
    assert first.count("small") == 40
    assert first.count("large") == 1


def test_a_caller_who_sends_one_large_call_after_the_other_gets_no_more_than_a_fair_part():
    queue = FairQueue()
    for _ in range(400):
        queue.append(call("many"))
    queue.append(call("closed-loop", 60_000))
    served = []
    for _ in range(200):
        served.append(queue.take().caller)
        if served[-1] == "closed-loop":
            queue.append(call("closed-loop", 60_000))
    assert 2 <= served.count("closed-loop") <= 4


def test_a_caller_who_comes_later_is_not_owed_what_others_were_given_before():
    queue = FairQueue()
    for _ in range(100):
        queue.append(call("early"))
    taken(queue, 50)
    for _ in range(50):
        queue.append(call("late"))
    assert taken(queue, 20).count("late") == 10


def test_calls_that_come_back_go_before_those_of_their_caller_in_their_order():
    queue = FairQueue()
    first, second, third, other = call("a"), call("a"), call("a"), call("b")
    for one in (first, second, third, other):
        queue.append(one)
    gone = [queue.take(), queue.take()]
    queue.put_back(gone)
    order = [queue.take() for _ in range(4)]
    assert [one for one in order if one.caller == "a"] == [first, second, third]
    assert other in order


def test_the_next_call_is_the_one_that_is_taken_and_the_oldest_is_known():
    queue = FairQueue()
    assert queue.oldest_ns() == 0
    calls = [call("a"), call("b"), call("a")]
    for one in calls:
        queue.append(one)
    assert queue.oldest_ns() == calls[0].arrived_ns
    while len(queue):
        assert queue.peek() is queue.take()


def test_all_calls_are_handed_out_oldest_first_and_the_queue_begins_anew():
    queue = FairQueue()
    calls = [call(caller) for caller in "abcabcaa"]
    for one in calls:
        queue.append(one)
    assert set(queue) == set(calls)
    assert queue.clear() == calls
    assert not len(queue)
    queue.append(call("b"))
    assert taken(queue, 1) == ["b"]


def test_nothing_is_lost_or_doubled_whatever_comes_in_whatever_order():
    chance = random.Random(7)
    queue, waiting = FairQueue(), set()
    for _ in range(3000):
        if chance.random() < 0.55 or not waiting:
            one = call(chance.choice("abcde"), chance.choice((10, 1000, 30_000)))
            queue.append(one)
            waiting.add(one)
        else:
            one = queue.take()
            waiting.remove(one)
            if chance.random() < 0.1:
                queue.put_back([one])
                waiting.add(one)
        assert len(queue) == len(waiting)
    assert set(queue) == waiting


def test_a_call_that_is_removed_is_never_taken_and_the_turns_of_the_others_stay():
    draw = random.Random(7)
    queue, plain = FairQueue(), FairQueue()
    calls = [call(draw.choice("abcd"), draw.randrange(1, 5000)) for _ in range(400)]
    for one in calls:
        queue.append(one)
    gone = draw.sample(calls[20:], 250)  # not the first of a caller: who came first goes first
    for one in gone:
        queue.remove(one)
        queue.remove(one)  # not there any more: nothing happens
    for one in calls:
        if one not in gone:
            plain.append(one)
    assert len(queue) == len(plain) == 150
    assert queue.oldest_ns() == plain.oldest_ns()
    assert [queue.take() for _ in range(150)] == [plain.take() for _ in range(150)]
    assert (len(queue), queue.oldest_ns()) == (0, 0)


def test_a_caller_whose_calls_were_all_removed_has_one_turn_when_it_comes_again():
    queue = FairQueue()
    first = call("a")
    for one in (first, call("b"), call("b")):
        queue.append(one)
    queue.remove(first)
    for _ in range(3):
        queue.append(call("a"))
    assert taken(queue, 5) == ["a", "b", "a", "b", "a"]
    queue.append(last := call("c"))
    queue.remove(last)
    assert (len(queue), list(queue), queue.oldest_ns()) == (0, [], 0)
    queue.append(call("d"))
    assert taken(queue, 1) == ["d"]
