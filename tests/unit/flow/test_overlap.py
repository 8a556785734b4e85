"""Runs that overlap: the service that holds them, without a server."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path

import pytest
from overlapping import LIMIT_S, Place, Worker

import penstock
from penstock.codec.frames import CallFrame
from penstock.core.flow import ModelType
from penstock.core.names import new_run_id
from penstock.flow.function_threads import FunctionThreads, Job


@pytest.fixture
def worker(overlap_worker):
    """Return a function that makes a `Worker` of a flow."""
    return overlap_worker


def same(value):
    return value


def cancel_until_left(served: Worker, place: Place) -> None:
    """Cancel as the server does, again and again."""
    until = time.monotonic() + LIMIT_S
    while not place.is_left:
        assert time.monotonic() < until
        served.service.cancel(place)
        time.sleep(0.001)


def python(**functions):
    return [(ModelType.PYTHON, same, functions)]


def test_plain_functions_of_several_runs_are_inside_at_once(worker):
    barrier = threading.Barrier(8)

    def pre(data):
        barrier.wait(LIMIT_S)
        return data

    assert worker(python(pre=pre)).results(*([n] for n in range(8))) == [[n] for n in range(8)]


def test_no_more_threads_than_runs_may_be_inside_are_started_and_they_are_used_again(worker):
    seen = set()

    def pre(data):
        seen.add(threading.get_ident())
        return data

    served = worker(python(pre=pre), concurrency=3)
    for number in range(30):
        assert served.results([number]) == [[number]]
    assert len(seen) <= 3


def test_every_function_thread_works_in_a_folder_of_its_own(worker):
    barrier = threading.Barrier(4)

    def pre(data):
        Path("out.txt").write_text(str(data[0]))
        barrier.wait(LIMIT_S)
        return data

    def post(result):
        return [int(Path("out.txt").read_text()), len(os.listdir("."))]

    before = os.getcwd()
    served = worker(python(pre=pre, post=post))
    assert served.results(*([n] for n in range(4))) == [[n, 1] for n in range(4)]
    assert served.results(*([n] for n in range(4))) == [[n, 1] for n in range(4)]
    assert not list(Path(before).rglob("out.txt"))


def test_where_threads_share_a_directory_only_the_named_folder_is_the_runs(worker, monkeypatch):
    monkeypatch.setattr(FunctionThreads, "can_be_private", staticmethod(lambda: False))
    barrier = threading.Barrier(4)

    def pre(data):
        Path(penstock.run_folder(), "out.txt").write_text(str(data[0]))
        barrier.wait(LIMIT_S)
        return data

    def post(result):
        return [int(Path(penstock.run_folder(), "out.txt").read_text())]

    served = worker(python(pre=pre, post=post))
    assert served.results(*([n] for n in range(4))) == [[n] for n in range(4)]
    assert served.service.facts()["private_directories"] is False


def test_models_are_called_in_one_thread_and_joined(worker, models):
    threads = set()
    barrier = threading.Barrier(8)

    def pre(data):
        barrier.wait(LIMIT_S)
        return data

    def post(result):
        threads.add(threading.get_ident())
        return result

    rows = models.x[:8].tolist()
    flow = [
        (ModelType.SKLEARN_PREPROCESSOR, models.scaler, {"pre": pre}),
        (ModelType.SKLEARN_CLASSIFIER, models.logistic, {"post": post}),
    ]
    served = worker(flow)
    own = models.own.logistic.predict_proba(models.own.scaler.transform(models.x[:8]))
    for _ in range(5):
        for got, wanted in zip(served.results(*([row] for row in rows)), own, strict=True):
            assert got[0] == pytest.approx(wanted.tolist())
    assert len(threads) > 1
    joined = [stage["batching"] for stage in served.service.facts()["stages"]]
    assert [stage["state"] for stage in joined] == ["on", "on"]
    told = [[stage["batching"]["state"] for stage in n.get("stages", [])] for n in served.notices]
    assert told[-1] == ["on", "on"]


NAME: ContextVar[str] = ContextVar("name", default="nobody")
LEFT: ContextVar[str] = ContextVar("left", default="nothing")


def test_context_variables_follow_a_run_through_its_models_and_come_from_no_other(worker, models):
    def pre(data):
        NAME.set(data[0])
        return models.x[:1]

    def model(value):
        found = [NAME.get(), LEFT.get()]
        LEFT.set(found[0])
        return found

    stages = [(ModelType.SKLEARN_PREPROCESSOR, models.scaler, {"pre": pre})]
    served = worker([*stages, (ModelType.PYTHON, model)])
    for _ in range(3):
        assert served.results(["a"], ["b"]) == [["a", "nothing"], ["b", "nothing"]]


def test_a_python_model_between_other_models_has_the_run_s_context(worker, models):
    def pre(data):
        NAME.set(data[0])
        return models.x[:1]

    def model(value):
        return value if NAME.get() == "a" else 2 * value

    scaler = (ModelType.SKLEARN_PREPROCESSOR, models.scaler)
    classifier = (ModelType.SKLEARN_CLASSIFIER, models.logistic)
    served = worker([(*scaler, {"pre": pre}), (ModelType.PYTHON, model), classifier])
    rows = models.own.scaler.transform(models.x[:1])
    own = [models.own.logistic.predict_proba(times * rows)[0].tolist() for times in (1, 2)]
    for _ in range(3):
        first, second = served.results(["a"], ["b"])
        assert first[0] == pytest.approx(own[0])
        assert second[0] == pytest.approx(own[1])


def test_a_python_model_after_another_names_the_run_s_own_folder_in_async_flows(worker, models):
    def model(value):
        folder = penstock.run_folder()
        return [folder, folder == os.getcwd()]

    async def post(result):
        return [*result, penstock.run_folder()]

    stages = [(ModelType.SKLEARN_PREPROCESSOR, models.scaler)]
    served = worker([*stages, (ModelType.PYTHON, model, {"post": post})])
    rows = models.x[:2].tolist()
    (one, shared, same_one), (other, _, _) = served.results(rows[:1], rows[1:])
    assert one == same_one
    assert one != other
    assert not shared


def test_a_run_says_where_it_is(worker):
    served = worker(python(pre=same, post=same))
    place = served.begin([1])
    assert place.body()["result"] == [1]
    assert place.places == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_error_is_the_run_s_own_and_names_the_function(worker, kind):
    def pre(data):
        return [1 / data[0]]

    async def pre_async(data):
        await asyncio.sleep(0)
        return [1 / data[0]]

    served = worker(python(pre=pre if kind == "plain" else pre_async))
    good, bad = served.begin([1]), served.begin([0])
    assert good.body()["result"] == [1.0]
    error = bad.body()["error"]
    assert (error["code"], error["type"]) == ("function_failed", "ZeroDivisionError")
    assert "pre of stage 1" in error["message"]


@pytest.mark.parametrize(
    "how", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_an_async_function_cannot_end_the_loop(worker, how):
    async def pre(data):
        if data == [0]:
            raise how("no more")
        return data

    served = worker(python(pre=pre))
    assert served.begin([0]).body()["error"]["type"] == how.__name__
    assert served.results([1]) == [[1]]


def test_an_async_function_that_returns_none_is_named(worker):
    async def pre(data):
        pass

    assert worker(python(pre=pre)).begin([1]).body()["error"]["code"] == "returned_none"


def test_a_run_that_nobody_waits_for_publishes_nothing_and_is_left(worker):
    entered, leave = threading.Event(), threading.Event()

    def pre(data):
        if data == ["look"]:
            return [penstock.memory.incr("count", 0)]
        penstock.save("count", 5)
        entered.set()
        leave.wait(LIMIT_S)
        return data

    served = worker(python(pre=pre))
    place = served.begin(["save"])
    assert entered.wait(LIMIT_S)
    served.service.cancel(place)  # in time: the thread is not written off
    leave.set()
    assert place.wait().is_left
    assert served.results(["look"]) == [[0]]


def test_a_run_that_waits_for_a_busy_model_is_let_go_at_once(worker):
    entered, leave = threading.Event(), threading.Event()

    def model(value):
        entered.set()
        leave.wait(LIMIT_S)
        return value

    served = worker([(ModelType.PYTHON, model)])
    inside = served.begin([1])
    assert entered.wait(LIMIT_S)
    waiting = served.begin([2])
    while len(waiting.places) < 1:
        time.sleep(0.001)
    cancel_until_left(served, waiting)
    assert inside.reply is None
    leave.set()
    assert inside.body()["result"] == [1]


def test_a_lost_thread_is_replaced_and_most_of_them_lost_asks_for_another_worker(worker):
    leave = threading.Event()
    entered = threading.Semaphore(0)

    def pre(data):
        if data == ["stay"]:
            entered.release()
            leave.wait(LIMIT_S)
        return data

    served = worker(python(pre=pre), concurrency=2)
    for number in (1, 2):
        place = served.begin(["stay"], limit_s=0.5)
        assert entered.acquire(timeout=LIMIT_S)
        cancel_until_left(served, place)
        assert bool([n for n in served.notices if "worn" in n]) is (number > 1)
    assert served.results(["on"], ["and on"]) == [["on"], ["and on"]]
    leave.set()


def test_a_thread_that_comes_back_from_a_lost_job_ends(tmp_path):
    threads = FunctionThreads(1, tmp_path, private=True)
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()

    def stay(_desk):
        entered.set()
        leave.wait(LIMIT_S)

    lost = Job(stay)
    threads.submit(lost)
    assert entered.wait(LIMIT_S)
    threads.give_up(lost)
    threads.give_up(lost)
    assert threads.lost == 1
    threads.submit(Job(lambda _desk: done.set()))
    assert done.wait(LIMIT_S)
    leave.set()
    until = time.monotonic() + LIMIT_S
    while threads.lost:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_job_given_up_before_it_began_is_never_done(tmp_path):
    threads = FunctionThreads(1, tmp_path, private=True)
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()
    threads.submit(Job(lambda _desk: (entered.set(), leave.wait(LIMIT_S))))
    assert entered.wait(LIMIT_S)
    never, after = Job(lambda _desk: pytest.fail("it was done")), Job(lambda _desk: done.set())
    threads.submit(never)
    threads.submit(after)
    threads.give_up(never)
    leave.set()
    assert done.wait(LIMIT_S)
    assert not never.is_done


def test_a_task_that_is_given_up_before_it_begins_is_answered(worker):
    blocked, leave = threading.Event(), threading.Event()

    def block():
        blocked.set()
        leave.wait(LIMIT_S)

    async def pre(data):
        if data == ["block"]:
            block()
        return data

    served = worker(python(pre=pre))
    first = served.begin(["block"])
    assert blocked.wait(LIMIT_S)
    second = served.begin(["late"])
    served.service.cancel(second)
    leave.set()
    assert first.body()["result"] == ["block"]
    assert second.wait().is_left


def test_calls_that_cannot_be_decoded_are_answered(worker):
    served = worker(python(pre=same))
    place = Place(CallFrame(999, new_run_id(), 0, 0, 1 << 62, "application/json", b"{nonsense", 9))
    served.service.begin(place)
    assert place.body()["error"]["code"] == "malformed_body"


def test_async_functions_of_two_branches_wait_at_the_same_time(worker):
    def setup():
        return {"met": asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else _Meeting(2)}

    async def meet(value):
        await asyncio.wait_for(penstock.get("met").wait(), LIMIT_S)
        return value

    stage = (ModelType.PYTHON, meet)
    served = worker([(penstock.parallel([stage, stage]), {"setup": setup})])
    assert served.results([1], [2]) == [[[1], [1]], [[2], [2]]]


class _Meeting:
    """What `asyncio.Barrier` is from Python 3.11 on."""

    def __init__(self, parties):
        self._parties, self._here, self._all = parties, 0, asyncio.Event()

    async def wait(self):
        self._here += 1
        if self._here % self._parties == 0:
            self._all.set()
            self._all = asyncio.Event()
        else:
            await self._all.wait()


def test_a_branch_that_fails_ends_the_others_waiting(worker):
    async def fail(value):
        raise ValueError("no")

    async def forever(value):
        await asyncio.Event().wait()

    flow = [
        penstock.parallel({"bad": (ModelType.PYTHON, fail), "slow": (ModelType.PYTHON, forever)})
    ]
    body = worker(flow).begin([1]).body()
    assert "model of stage 1 of branch 'bad' of stage 1" in body["error"]["message"]


def test_a_call_that_nobody_waits_for_leaves_all_its_branches(worker):
    entered = []

    async def forever(value):
        entered.append(value)
        await asyncio.Event().wait()

    stage = (ModelType.PYTHON, forever)
    served = worker([penstock.parallel([stage, stage])])
    place = served.begin([1])
    until = time.monotonic() + LIMIT_S
    while len(entered) < 2:
        assert time.monotonic() < until
        time.sleep(0.001)
    cancel_until_left(served, place)


@pytest.mark.parametrize("kind", ["async", "plain", "branches"])
def test_a_run_that_is_cancelled_is_not_logged_as_a_defect(worker, capfd, kind):
    entered, leave = threading.Semaphore(0), threading.Event()

    async def forever(value):
        entered.release()
        await asyncio.Event().wait()

    def wait(value):
        entered.release()
        leave.wait(LIMIT_S)
        return value

    stage = (ModelType.PYTHON, forever)
    flows = {
        "async": [stage],
        "plain": [(*stage, {"pre": wait})],
        "branches": [penstock.parallel([stage, stage])],
    }
    served = worker(flows[kind])
    # A plain function is left alone until the time of its call is over.
    place = served.begin([1], limit_s=1.0 if kind == "plain" else 60.0)
    assert entered.acquire(timeout=LIMIT_S)
    cancel_until_left(served, place)
    leave.set()
    assert "defect" not in capfd.readouterr().err


def test_plain_functions_in_branches_and_models_between_them_answer_in_threads(worker):
    double = (ModelType.PYTHON, lambda v: [2 * x for x in v])
    flow = [
        penstock.switch(
            lambda data: "sum" if len(data) > 1 else "twice",
            {
                "sum": [penstock.parallel([double, []], "concat"), (ModelType.PYTHON, _total)],
                "twice": double,
            },
        )
    ]
    assert worker(flow).results([1], [1, 2], [5]) == [[2], [9.0], [10]]


def _total(table):
    return float(table.sum())


def test_an_unknown_branch_is_an_error_here_too(worker):
    async def choose(data):
        return "nowhere"

    flow = [penstock.switch(choose, {"a": (ModelType.PYTHON, same)})]
    assert worker(flow).begin([1]).body()["error"]["code"] == "unknown_branch"


def test_an_async_setup_runs_on_the_loop_that_runs_the_functions(worker):
    async def setup():
        return {"loop": asyncio.get_running_loop()}

    async def model(value):
        return asyncio.get_running_loop() is penstock.get("loop")

    assert worker([(ModelType.PYTHON, model, {"setup": setup})]).results([1]) == [[True]]


class Pickled:
    """A value that calls a function when it is published."""

    def __init__(self, during):
        self._during = during

    def __reduce__(self):
        self._during()
        return int, (5,)


def test_what_a_task_saves_after_its_run_does_no_harm_while_the_run_is_published(worker):
    publishing, saved = threading.Event(), threading.Event()
    tasks = []

    def during():
        publishing.set()
        saved.wait(LIMIT_S)

    async def left_behind():
        await asyncio.to_thread(publishing.wait, LIMIT_S)
        for number in range(100):
            penstock.save(f"late-{number}", number)
        saved.set()

    async def pre(data):
        if data == ["look"]:
            return [penstock.get("first"), penstock.get("second")]
        penstock.save("first", Pickled(during))
        penstock.save("second", 6)
        tasks.append(asyncio.create_task(left_behind()))
        return data

    served = worker(python(pre=pre))
    assert served.results(["save"]) == [["save"]]
    assert saved.is_set()
    assert served.results(["look"]) == [[5, 6]]


def test_a_value_that_ends_its_thread_when_it_is_published_costs_its_own_run_alone(worker):
    publishing, leave = threading.Event(), threading.Event()

    def during():
        publishing.set()
        leave.wait(LIMIT_S)

    def pre(data):
        values = {"hold": Pickled(during), "end": Pickled(sys.exit)}
        penstock.save("kept", values.get(data[0], data[0]))
        return data

    def post(result):
        if result == ["b"]:
            leave.set()
        return result

    served = worker(python(pre=pre, post=post))
    held = served.begin(["hold"])
    assert publishing.wait(LIMIT_S)
    ending, other = served.begin(["end"]), served.begin(["a"])
    assert served.results(["b"]) == [["b"]]
    assert [held.body()["result"], other.body()["result"]] == [["hold"], ["a"]]
    error = ending.body()["error"]
    assert error["code"] == "internal"
    assert "The memory could not be written: SystemExit" in error["message"]
    assert served.results(["c"]) == [["c"]]
