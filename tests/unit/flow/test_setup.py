"""`setup` runs once per process that answers; what it returns is there without copying."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock import get, memory, parallel, save
from penstock.core.errors import FunctionFailed, LoadFailed
from penstock.core.flow import Flow
from penstock.core.flow import ModelType as M
from penstock.flow.local import LocalFlow
from penstock.flow.local_memory import LocalMemory

THINGS = object()


def load(flow):
    return LocalFlow(Flow.parse(flow))


def python(function, **functions):
    return (M.PYTHON, function, functions)


def test_setup_runs_once_when_the_flow_loads_and_not_per_run():
    calls = []

    def setup():
        calls.append(1)
        return {"offset": 10}

    local = load([python(lambda v: v[0] + get("offset"), setup=setup)])
    assert calls == [1]
    assert [local.run([n]) for n in (1, 2)] == [[11], [12]]
    assert calls == [1]


def test_get_returns_the_very_object_that_setup_made():
    table = {"a": 1}
    seen = []

    def look(value):
        seen.append(get("table"))
        return value

    local = load([python(look, setup=lambda: {"table": table})])
    local.run([1])
    assert seen[0] is table


def test_what_a_run_saves_for_itself_comes_before_what_setup_returned():
    def look(value):
        save("word", "own", scope="run")
        return get("word")

    local = load([python(look, setup=lambda: {"word": "set up"})])
    assert local.run([1]) == ["own"]


def test_what_setup_returned_comes_before_the_shared_memory(worker):
    shared = LocalMemory()
    worker([python(lambda v: (save("word", "shared"), "saved")[1])], memory=shared).results([1])
    asked = worker([python(lambda v: get("word"), setup=lambda: {"word": "new"})], memory=shared)
    assert asked.results([1]) == [["new"]]
    plain = worker([python(lambda v: get("word"))], memory=shared)
    assert plain.results([1]) == [["shared"]]


@pytest.mark.parametrize(
    "change",
    [
        lambda: save("word", 1),
        lambda: memory.incr("word"),
        lambda: memory.update("word", lambda old: old, default=1),
        lambda: memory.delete("word"),
    ],
    ids=["save", "incr", "update", "delete"],
)
def test_changing_a_name_of_setup_for_everybody_is_an_error_that_says_whose_it_is(change):
    local = load([python(lambda v: change() or "done", setup=lambda: {"word": "set up"})])
    with pytest.raises(FunctionFailed, match="setup of stage 1 returned 'word'") as caught:
        local.run([1])
    assert caught.value.type == "ValueError"


def test_two_local_flows_have_each_their_own():
    flows = [load([python(lambda v: get("n"), setup=lambda n=n: {"n": n})]) for n in (1, 2)]
    assert [flow.run([0]) for flow in flows] == [[1], [2]]


def test_every_stage_may_have_one_and_all_see_what_all_returned():
    def model(value):
        return [get("first"), get("second"), get("third")]

    flow = [
        python(lambda v: v, setup=lambda: {"first": 1}),
        (parallel([python(model, setup=lambda: {"third": 3})]), {"setup": lambda: {"second": 2}}),
    ]
    assert load(flow).run([0]) == [[1, 2, 3]]


def test_the_same_name_from_two_setups_is_refused_with_both_stages():
    flow = [python(lambda v: v, setup=lambda: {"n": 1}) for _ in (1, 2)]
    with pytest.raises(LoadFailed, match=r"stage 2 .*'n', as setup of stage 1 did") as caught:
        load(flow)
    assert (caught.value.stage, caught.value.function) == (2, "setup")


@pytest.mark.parametrize(
    ("returned", "words"),
    [(None, "returned None, not a dict"), ([1], "returned list of 1"), ({1: 2}, "the key 1")],
)
def test_setup_must_return_a_dict_of_names(returned, words):
    with pytest.raises(LoadFailed, match=words):
        load([python(lambda v: v, setup=lambda: returned)])


def test_a_setup_that_raises_names_stage_function_and_line():
    def connect():
        raise ConnectionError("nobody there")

    with pytest.raises(
        LoadFailed, match=r"setup of stage 1 \(connect\(\)\) raised Conn.*line"
    ) as e:
        load([python(lambda v: v, setup=connect)])
    assert e.value.type == "ConnectionError"
    assert "nobody there" in (e.value.traceback or "")


def test_sys_exit_in_setup_is_a_failed_load_not_the_end_of_the_process():
    with pytest.raises(LoadFailed, match="SystemExit"):
        load([python(lambda v: v, setup=lambda: exit(3))])


def test_an_async_setup_runs_on_the_loop_of_the_async_functions():
    import asyncio

    async def setup():
        return {"loop": asyncio.get_running_loop()}

    async def model(value):
        return asyncio.get_running_loop() is get("loop")

    assert load([python(model, setup=setup)]).run([1]) == [True]


def test_setup_may_read_the_memory_and_what_it_saves_is_published(worker):
    shared = LocalMemory()

    def setup():
        save("seen by", "everybody")
        memory.incr("loads")
        return {"n": memory.get("loads")}

    flow = [python(lambda v: [get("n"), get("seen by")], setup=setup)]
    assert worker(flow, memory=shared).results([1]) == [[1, "everybody"]]
    assert worker(flow, memory=shared).results([1]) == [[2, "everybody"]]


def test_files_that_setup_writes_stay_and_are_nobodys_run_files(worker):
    def setup():
        Path("words.txt").write_text("one two")
        return {"file": os.path.abspath("words.txt")}

    served = worker([python(lambda v: [Path(get("file")).read_text(), os.listdir()], setup=setup)])
    for _ in range(2):
        assert served.results([1]) == [["one two", []]]
