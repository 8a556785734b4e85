"""Async functions in local runs, with and without a loop around them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import penstock
from penstock import Conduit
from penstock.core.errors import FunctionFailed
from penstock.core.flow import Flow, ModelType
from penstock.flow.local import LocalFlow

loops = []


def note(text):
    Path(penstock.run_folder(), "note.txt").write_text(text)


def noted():
    return Path("note.txt").read_text()


async def pre(data, files):
    loops.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    penstock.save("sum", sum(data), scope="run")
    note("kept")
    return [number + len(files) for number in data]


async def post(result):
    loops.append(asyncio.get_running_loop())
    return {"values": result, "sum": penstock.get("sum"), "note": noted()}


def same(value):
    return value


def flow():
    return [(ModelType.PYTHON, same, {"pre": pre, "post": post})]


WANTED = {"values": [2, 3], "sum": 3, "note": "kept"}


def test_async_functions_run_here_too():
    assert Conduit("async-here", flow=flow()).run([1, 2], files=[b"one"]) == WANTED


def test_async_functions_run_where_a_loop_is_running_as_in_a_notebook():
    async def cell():
        return Conduit("async-here", flow=flow()).run([1, 2], files=[b"one"])

    assert asyncio.run(cell()) == WANTED


def test_all_local_runs_share_one_loop_so_that_open_clients_stay_usable():
    loops.clear()
    conduit = Conduit("async-here", flow=flow())
    conduit.run([1, 2])
    conduit.run([1, 2])
    assert len(loops) == 4
    assert len(set(loops)) == 1


def test_an_error_of_an_async_function_is_raised_with_its_cause():
    async def fails(data):
        raise LookupError("no such row")

    local = LocalFlow(Flow.parse([(ModelType.PYTHON, same, {"pre": fails})]))
    with pytest.raises(FunctionFailed, match="LookupError: no such row") as caught:
        local.run([1])
    assert isinstance(caught.value.__cause__, LookupError)
    assert "async_function.py" not in caught.value.traceback


def test_an_async_python_model_runs_here():
    class Remote:
        async def predict(self, value):
            return [2 * number for number in value]

    assert LocalFlow(Flow.parse([(ModelType.PYTHON, Remote)])).run([1, 2]) == [2, 4]


def test_the_folder_of_a_plain_function_is_its_working_directory():
    def plain(data):
        Path(penstock.run_folder(), "a").write_text("x")
        return [Path("a").read_text(), Path.cwd() == Path(penstock.run_folder())]

    def later(result):
        return [*result, Path("a").exists()]

    local = LocalFlow(Flow.parse([(ModelType.PYTHON, same, {"pre": plain, "post": later})]))
    assert local.run([1]) == ["x", True, True]


def test_the_folder_outside_a_run_is_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert penstock.run_folder() == str(tmp_path)
