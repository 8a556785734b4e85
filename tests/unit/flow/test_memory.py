"""save, get, delete and memory: own writes first, published on success, atomic where said."""

from __future__ import annotations

import pickle
import threading

import cloudpickle
import pytest

from penstock.codec.memory import MOST_WRITES, Done, Publish, Read, Refused, Write
from penstock.core.errors import InvalidSetting, MemoryQuotaExceeded
from penstock.core.flow import ModelType as M
from penstock.flow.local_memory import LocalMemory
from penstock.flow.memory import delete, get, memory, process_space, save
from penstock.flow.space import MISSING, MemorySpace


@pytest.fixture
def call(worker, models):
    """Return a function that runs code as the post of a flow, on a memory of its own."""
    shared = LocalMemory()
    made = {}

    def run(function):
        def post(result, data):
            return made["function"](*data)

        if "service" not in made:
            flow = [(M.SKLEARN, models.regressor, {"pre": lambda d: [[1.0, 2.0]], "post": post})]
            made["service"] = worker(flow, memory=shared)
        made["function"] = function
        return made["service"]

    return run


def value_of(call, name):
    return call(lambda: [get(name)]).results([])[0][0]


def test_what_a_run_saved_others_see_after_it_succeeded(call):
    service = call(lambda n: save("a", {"n": n}) or get("a"))
    assert service.results([1], [2]) == [{"n": 1}, {"n": 2}]
    assert value_of(call, "a") == {"n": 2}


def test_a_run_that_fails_publishes_nothing(call):
    def fails():
        save("a", 1)
        raise ValueError("after saving")

    call(fails).error([])
    call(lambda: save("b", 1) or object()).error([])
    assert call(lambda: get("a")).error([])["type"] == "NameError"
    assert call(lambda: get("b")).error([])["type"] == "NameError"


def test_changing_what_was_read_changes_it_for_nobody_else(call):
    call(lambda: save("a", [1]) or 1).results([])
    assert call(lambda: get("a").append(2) or get("a")).results([]) == [[1, 2]]
    assert value_of(call, "a") == [1]


def test_delete_is_seen_at_once_by_the_run_and_later_by_all(call):
    call(lambda: save("a", 1) or 1).results([])

    def gone():
        delete("a")
        try:
            return get("a")
        except NameError:
            return "gone"

    assert call(gone).results([]) == [["gone"]]
    assert call(lambda: get("a")).error([])["type"] == "NameError"
    assert call(lambda: delete("a")).error([])["type"] == "NameError"


def test_none_is_a_value(call):
    call(lambda: save("a", None) or 1).results([])
    assert value_of(call, "a") is None


def test_scope_run_never_leaves_the_run(call):
    assert call(lambda: save("a", 5, scope="run") or get("a")).results([]) == [[5]]
    assert call(lambda: get("a")).error([])["type"] == "NameError"


def test_scope_project_is_apart_from_the_deployment(call):
    call(lambda: save("a", 1, scope="project") or 1).results([])
    assert call(lambda: get("a")).error([])["type"] == "NameError"
    assert call(lambda: get("a", scope="project")).results([]) == [[1]]


def test_incr_counts_for_everybody_at_once_even_if_the_run_fails(call):
    def counts(fail):
        memory.incr("n", 2)
        if fail:
            raise ValueError
        return get("n")

    call(counts).error([True])
    assert call(counts).results([False]) == [[4]]
    assert call(lambda: memory.incr("n", by=0.5)).results([]) == [[4.5]]


def test_incr_and_update_act_on_the_runs_own_value_if_it_has_one(call):
    def own():
        save("n", 10)
        memory.incr("n")
        return memory.update("n", lambda v: v * 2)

    assert call(own).results([]) == [[22]]
    assert value_of(call, "n") == 22


def test_incr_adds_to_a_number_that_was_saved(call):
    call(lambda: save("n", 5) or 1).results([])
    assert call(lambda: memory.incr("n", 3)).results([]) == [[8]]
    call(lambda: save("t", "text") or 1).results([])
    assert call(lambda: memory.incr("t")).error([])["type"] == "TypeError"


def test_update_needs_the_name_or_a_default(call):
    assert call(lambda: memory.update("u", lambda v: v)).error([])["type"] == "NameError"
    assert call(lambda: memory.update("u", lambda v: [*v, 1], [])).results([]) == [[1]]
    assert call(lambda: memory.update("u", lambda v: [*v, 2])).results([]) == [[1, 2]]


def test_update_tries_again_when_another_run_was_faster():
    shared = LocalMemory()
    one, other = MemorySpace(shared.ask), MemorySpace(shared.ask)
    tries = []

    def slow(value):
        tries.append(value)
        if len(tries) == 1:
            other.update("deployment", "u", lambda _: 10, 0, None)
        return value + 1

    assert one.update("deployment", "u", slow, 0, None) == 11
    assert tries == [0, 10]


def test_concurrent_updates_lose_nothing():
    shared = LocalMemory()

    def many():
        space = MemorySpace(shared.ask)
        for _ in range(50):
            space.update("deployment", "u", lambda v: v + 1, 0, None)
            space.increment("deployment", "n", 1, None)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    space = MemorySpace(shared.ask)
    assert space.read("deployment", "u") == 200
    assert space.read("deployment", "n") == 200
    assert space.read("deployment", "x") is MISSING


def test_what_cannot_be_pickled_stays_with_its_run_and_is_logged(call, capsys):
    def saves():
        save("lock", threading.Lock())
        save("n", 1)
        return get("lock").acquire()

    assert call(saves).results([]) == [[True]]
    logged = capsys.readouterr().err
    assert "save('lock')" in logged
    assert "lock" in logged
    assert value_of(call, "n") == 1


def test_a_value_expires(call):
    call(lambda: save("a", 1, ttl=1e-9) or 1).results([])
    assert call(lambda: get("a")).error([])["type"] == "NameError"


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda: save(5, 1), "TypeError"),
        (lambda: save("a", 1, scope="planet"), None),
        (lambda: save("a", 1, ttl=-1), None),
    ],
)
def test_wrong_names_scopes_and_times_are_refused(call, act, kind):
    error = call(act).error([])
    assert error["type"] == kind
    if kind is None:
        assert error["code"] == InvalidSetting.code


def test_only_the_run_over_the_quota_fails(worker, models):
    inner = LocalMemory()
    published = []

    def ask(request):
        if isinstance(request, Publish):
            published.append(len(request.writes))
            if any(len(w.value or b"") > 1000 for w in request.writes):
                return Refused(MemoryQuotaExceeded("too large").to_dict())
        return inner.ask(request)

    inner_worker = worker(
        [
            (
                M.SKLEARN,
                models.regressor,
                {"pre": lambda d: save("v", "x" * d[0]) or [[1.0, 2.0]], "post": lambda r: 1},
            )
        ],
        memory=type("Asks", (), {"ask": staticmethod(ask)})(),
    )
    small, large, other = inner_worker.answers([1], [5000], [3])
    assert small["result"] == other["result"] == [1]
    assert large["error"]["code"] == "memory_quota_exceeded"
    assert published == [3, 1, 1, 1]
    published.clear()
    inner_worker.results([1], [2], [3])
    assert published == [3]


def test_a_value_that_did_not_change_does_not_travel_again():
    inner, seen = LocalMemory(), []

    def ask(request):
        answer = inner.ask(request)
        seen.append(type(answer).__name__)
        return answer

    space = MemorySpace(ask)
    inner.ask(Publish([]))
    space.update("deployment", "a", lambda _: [1], 0, None)
    seen.clear()
    assert space.read("deployment", "a") == [1]
    assert space.read("deployment", "a") == [1]
    assert seen == ["Value", "Unchanged"]


def test_outside_a_run_a_memory_of_this_process_is_used():
    save("outside", [1])
    assert get("outside") == [1]
    memory.incr("outside-n", 2)
    assert get("outside-n") == 2
    save("kept", 1, scope="run")
    assert get("kept", scope="run") == 1
    delete("outside")
    with pytest.raises(NameError):
        get("outside")
    assert process_space().read("deployment", "outside-n") == 2


def test_functions_that_use_memory_are_pickled_by_the_public_names():
    for function in (save, get, delete, type(memory)):
        assert function.__module__ == "penstock"
    assert isinstance(LocalMemory().ask(Publish([])), Done)
    assert isinstance(Read("deployment", "a"), Read)
    pickled = cloudpickle.dumps(save)
    assert b"penstock" in pickled
    assert b"flow.memory" not in pickled
    assert pickle.loads(cloudpickle.dumps(memory)) is memory


def test_too_many_names_at_once_are_refused_before_they_travel():
    asked = []
    space = MemorySpace(asked.append)
    writes = [Write("deployment", f"n{number}", b"v") for number in range(MOST_WRITES + 1)]
    with pytest.raises(MemoryQuotaExceeded, match="100001 names"):
        space.publish(writes)
    assert asked == []
