"""Functions that wait, plain and async, on a real server: their runs overlap and stay apart."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from open_loop import request_bytes
from versioned import put, same_model

from penstock import model_type
from penstock.core.errors import InvalidSetting

TOGETHER = 16
CALLS = 64


def same(value: Any) -> Any:
    return value


def stage(**functions: Any) -> list[Any]:
    """A flow of one stage whose model is a function that returns what it gets."""

    def model(value: Any) -> Any:
        return value

    return [(model_type.PYTHON, model, functions)]


def call(server: Any, name: str, data: Any) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/default/{name}/predict",
        json=data,
        headers={"Authorization": server.keys["predict"]},
        timeout=60,
    )


def call_all(server: Any, name: str, all_data: list[Any]) -> list[httpx2.Response]:
    """Call at the same time, once for each of `all_data`."""
    with concurrent.futures.ThreadPoolExecutor(len(all_data)) as pool:
        return list(pool.map(lambda data: call(server, name, data), all_data))


def replicas(server: Any, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx2.get(
        f"{server.url}/v1/default/{name}", headers={"Authorization": server.keys["deploy"]}
    ).json()["replicas"]
    return [replica for replica in found if replica["state"] == "ready"]


def pid_of(server: Any, name: str) -> int:
    (replica,) = replicas(server, name)
    pid: int = replica["pid"]
    return pid


def wait_until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def meeting() -> dict[str, Any]:
    """Functions, plain and async, in which runs wait until so many are there at once."""
    size = TOGETHER

    def meet() -> None:
        import sys
        import threading

        sys.__dict__.setdefault("the_barrier", threading.Barrier(size)).wait(30)

    async def meet_async() -> None:
        import asyncio
        import sys

        here = sys.__dict__.setdefault("the_meeting", [])
        mine = asyncio.Event()
        here.append(mine)
        if len(here) == size:
            for event in here:
                event.set()
            here.clear()
        await asyncio.wait_for(mine.wait(), 30)

    return {"plain": meet, "async": meet_async}


def keeping_apart(kind: str) -> dict[str, Any]:
    """A `pre` and `post` that leave traces of their run everywhere and look for them later."""
    meet = meeting()[kind]

    def own() -> Any:
        import sys
        from contextvars import ContextVar

        return sys.__dict__.setdefault("the_variable", ContextVar("who"))

    def leave(number: int, path: str) -> None:
        from penstock import save

        save(f"run {number}", number)
        save("mine", number, scope="run")
        own().set(number)
        with open(path, "w") as file:
            file.write(str(number))

    def find(path: str) -> list[Any]:
        from penstock import get

        with open(path) as file:
            number = int(file.read())
        return [number, get("mine"), get(f"run {number}"), own().get(None)]

    def pre(data: Any) -> Any:
        leave(data[0], "out.txt")
        meet()
        return data

    def post(result: Any) -> Any:
        return find("out.txt")

    async def pre_async(data: Any) -> Any:
        from penstock import run_folder

        leave(data[0], run_folder() + "/out.txt")
        await meet()
        return data

    async def post_async(result: Any) -> Any:
        from penstock import run_folder

        return find(run_folder() + "/out.txt")

    if kind == "plain":
        return {"pre": pre, "post": post}
    return {"pre": pre_async, "post": post_async}


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_runs_wait_at_the_same_time_in_one_replica_and_do_not_meet(server: Any, kind: str) -> None:
    name = f"apart-{kind}"
    options = {"concurrency": CALLS} if kind == "plain" else {}
    put(server, stage(**keeping_apart(kind)), name, replicas=1, **options)
    pid = pid_of(server, name)
    answers = call_all(server, name, [[number] for number in range(CALLS)])
    results = [answer.json().get("result") for answer in answers]
    assert results == [[number] * 4 for number in range(CALLS)]
    assert pid_of(server, name) == pid
    ids = {answer.json()["run_id"] for answer in answers}
    assert len(ids) == CALLS


def acting(kind: str, notes: Path) -> dict[str, Any]:
    """A `pre` that does what the data says: `["meet", how it goes on]`, `["sleep", name]`.

    It notes what began and what was cancelled, and sleepers sleep until there is a file `go`.
    """
    meet = meeting()[kind]
    path, go = str(notes), str(notes.with_name("go"))

    def note(text: str) -> None:
        with open(path, "a") as file:
            file.write(f"{text}\n")

    def may_go() -> bool:
        import os

        return os.path.exists(go)

    def pre(data: Any) -> Any:
        import time

        if data[0] == "meet":
            meet()
            return data if data[1] == "well" else 1 / 0
        if data[0] == "sleep":
            note(f"{data[1]} began")
            while not may_go():
                time.sleep(0.01)
            note(f"{data[1]} ended")
        return data

    async def pre_async(data: Any) -> Any:
        import asyncio

        if data[0] == "meet":
            await meet()
            return data if data[1] == "well" else 1 / 0
        try:
            if data[0] == "sleep":
                note(f"{data[1]} began")
                while not may_go():  # noqa: ASYNC110 - the test cannot set an event in here
                    await asyncio.sleep(0.01)
                note(f"{data[1]} ended")
        except asyncio.CancelledError:
            note(f"{data[1]} cancelled")
            if data[0] == "sleep":
                raise
        return data

    return {"pre": pre if kind == "plain" else pre_async}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


def begun(notes: Path) -> int:
    return notes.read_text().count("began")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_one_failing_run_fails_alone(server: Any, kind: str, notes: Path) -> None:
    name = f"one-fails-{kind}"
    put(server, stage(**acting(kind, notes)), name, replicas=1, concurrency=TOGETHER)
    how = ["well"] * TOGETHER
    how[5] = "badly"
    answers = call_all(server, name, [["meet", each] for each in how])
    assert [answer.status_code for answer in answers] == [
        200 if each == "well" else 500 for each in how
    ]
    error = answers[5].json()["error"]
    assert (error["type"], error["stage"], error["function"]) == ("ZeroDivisionError", 1, "pre")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_killed_worker_loses_exactly_the_runs_inside(server: Any, kind: str, notes: Path) -> None:
    name, inside, more = f"killed-{kind}", 4, 3
    put(server, stage(**acting(kind, notes)), name, replicas=1, concurrency=inside)
    with concurrent.futures.ThreadPoolExecutor(inside + more) as pool:
        first = [pool.submit(call, server, name, ["sleep", f"a{n}"]) for n in range(inside)]
        wait_until(lambda: begun(notes) == inside)
        others = [pool.submit(call, server, name, ["sleep", f"b{n}"]) for n in range(more)]
        wait_until(lambda: sum(r["in_flight"] for r in replicas(server, name)) == inside + more)
        assert begun(notes) == inside
        os.kill(pid_of(server, name), signal.SIGKILL)
        died = [each.result() for each in first]
        notes.with_name("go").touch()
        assert [each.status_code for each in died] == [502] * inside
        places = {(e.json()["error"]["stage"], e.json()["error"]["function"]) for e in died}
        assert places == {(1, "pre")}
        assert [other.result().status_code for other in others] == [200] * more
    assert begun(notes) == inside + more


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_run_over_its_time_limit_is_let_go_and_the_worker_goes_on(
    server: Any, kind: str, notes: Path
) -> None:
    name = f"late-{kind}"
    put(server, stage(**acting(kind, notes)), name, replicas=1, concurrency=8, timeout_s=0.6)
    pid = pid_of(server, name)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        late = pool.submit(call, server, name, ["sleep", "late"])
        wait_until(lambda: begun(notes))
        while not late.done():
            assert call(server, name, ["go on"]).status_code == 200
        assert late.result().status_code == 504
    assert late.result().json()["error"]["function"] == "pre"
    assert call(server, name, ["go on"]).status_code == 200
    assert pid_of(server, name) == pid
    if kind == "async":
        wait_until(lambda: "late cancelled" in notes.read_text())


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_all_runs_at_their_time_limit_at_once_leave_room_for_the_next(
    server: Any, kind: str, notes: Path
) -> None:
    name, many = f"all-late-{kind}", 6
    put(server, stage(**acting(kind, notes)), name, replicas=1, concurrency=many, timeout_s=0.6)
    answers = call_all(server, name, [["sleep", f"{n}"] for n in range(many)])
    assert [answer.status_code for answer in answers] == [504] * many
    assert [call(server, name, ["go on"]).status_code for _ in range(20)] == [200] * 20


def test_a_worker_that_lost_most_of_its_threads_is_replaced_without_a_failure(
    server: Any, notes: Path
) -> None:
    flow = stage(**acting("plain", notes))
    put(server, flow, "worn", replicas=1, concurrency=4, timeout_s=0.6)
    pid = pid_of(server, "worn")
    answers = call_all(server, "worn", [["sleep", f"{n}"] for n in range(3)])
    assert [answer.status_code for answer in answers] == [504] * 3
    wait_until(lambda: [r["pid"] for r in replicas(server, "worn")] not in ([], [pid]))
    assert call(server, "worn", ["go on"]).status_code == 200


def test_a_thread_that_computes_on_after_its_time_limit_costs_its_worker(server: Any) -> None:
    def pre(data: Any) -> Any:
        while data == ["compute"]:
            pass
        return data

    put(server, stage(pre=pre), "computes", replicas=1, concurrency=16, timeout_s=0.6)
    pid = pid_of(server, "computes")
    assert call(server, "computes", ["compute"]).status_code == 504
    wait_until(lambda: [r["pid"] for r in replicas(server, "computes")] not in ([], [pid]))
    assert call(server, "computes", ["go on"]).status_code == 200


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_runs_that_wait_end_well_while_the_next_version_takes_over(
    server: Any, kind: str, notes: Path
) -> None:
    name, many = f"drained-{kind}", 6
    flow = stage(**acting(kind, notes))
    put(server, flow, name, replicas=1, concurrency=many)
    with concurrent.futures.ThreadPoolExecutor(many) as pool:
        waiting = [pool.submit(call, server, name, ["sleep", f"{n}"]) for n in range(many)]
        wait_until(lambda: begun(notes) == many)
        assert put(server, flow, name, replicas=1, concurrency=many).version == 2
        assert call(server, name, ["go on"]).status_code == 200
        notes.with_name("go").touch()
        assert [each.result().status_code for each in waiting] == [200] * many


def test_an_async_run_whose_client_goes_away_is_cancelled(server: Any, notes: Path) -> None:
    url = str(put(server, stage(**acting("async", notes)), "gone", replicas=1))
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), 10) as client:
        body = json.dumps(["sleep", "gone"]).encode()
        client.sendall(request_bytes(url, server.keys["predict"], body))
        wait_until(lambda: begun(notes))
    wait_until(lambda: "gone cancelled" in notes.read_text())
    wait_until(lambda: not sum(r["in_flight"] for r in replicas(server, "gone")))


def stubborn(notes: Path) -> dict[str, Any]:
    path = str(notes)

    def note(text: str) -> None:
        with open(path, "a") as file:
            file.write(f"{text}\n")

    async def pre(data: Any) -> Any:
        import asyncio

        while data != ["go on"]:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                note("began to ignore it")
        return data

    return {"pre": pre}


def test_a_task_that_ignores_being_cancelled_harms_nobody(server: Any, notes: Path) -> None:
    put(server, stage(**stubborn(notes)), "stubborn", replicas=1, concurrency=8, timeout_s=0.5)
    pid = pid_of(server, "stubborn")
    assert call(server, "stubborn", ["stay"]).status_code == 504
    wait_until(lambda: begun(notes))
    assert call(server, "stubborn", ["go on"]).status_code == 200
    wait_until(lambda: not sum(r["in_flight"] for r in replicas(server, "stubborn")))
    assert pid_of(server, "stubborn") == pid


def test_a_model_that_hangs_ends_its_worker_at_the_time_limit(server: Any) -> None:
    def model(value: Any) -> Any:
        import time

        if value == ["hang"]:
            time.sleep(600)
        return value

    async def pre(data: Any) -> Any:
        return data

    flow = [(model_type.PYTHON, model, {"pre": pre})]
    put(server, flow, "model-hangs", replicas=1, timeout_s=0.6)
    pid = pid_of(server, "model-hangs")
    assert call(server, "model-hangs", ["hang"]).status_code == 504
    wait_until(lambda: [r["pid"] for r in replicas(server, "model-hangs")] not in ([], [pid]))
    assert call(server, "model-hangs", ["go on"]).status_code == 200


def test_waiting_counts_as_time_of_the_function_that_waits(server: Any) -> None:
    async def pre(data: Any) -> Any:
        import asyncio

        await asyncio.sleep(0.08)
        return data

    def post(result: Any) -> Any:
        import time

        time.sleep(0.04)
        return result

    put(server, stage(pre=pre, post=post), "timed", replicas=1)
    timing = call(server, "timed", [1]).headers["server-timing"]
    spent = {part.split(";")[0].strip(): float(part.split("=")[1]) for part in timing.split(",")}
    assert list(spent) == ["queue", "decode", "s1-pre", "s1-model", "s1-post", "encode"]
    assert spent["s1-pre"] >= 80
    assert spent["s1-post"] >= 40
    assert spent["s1-model"] < 40


def test_async_and_plain_functions_share_a_run_and_its_folder(server: Any, tmp_path: Path) -> None:
    model = same_model(tmp_path)

    def read(path: str) -> str:
        with open(path) as file:
            return file.read()

    def write(path: str) -> None:
        with open(path, "w") as file:
            file.write("from pre")

    async def pre(data: Any, files: Any) -> Any:
        from penstock import run_folder, save

        save("files", [read(file.path) for file in files], scope="run")
        write(run_folder() + "/note")
        return [[float(number)] for number in data]

    def post(result: Any) -> Any:
        from penstock import get

        # The working directory of a plain function is the run's.
        return {"rows": result, "note": read("note"), "files": get("files")}

    flow = [(model_type.SKLEARN_PREPROCESSOR, model, {"pre": pre, "post": post})]
    endpoint = put(
        server, flow, "mixed", replicas=1, example=[1], example_files=[b"of the example"]
    )
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: endpoint.predict([n], files=[f"{n}".encode()]), range(32))
        )
    assert answers == [{"rows": [[n]], "note": "from pre", "files": [str(n)]} for n in range(32)]


def test_a_python_model_may_be_async(server: Any) -> None:
    meet = meeting()["async"]

    class Remote:
        def setup(self) -> None:
            self.factor = 3

        async def predict(self, value: Any) -> Any:
            await meet()
            return [number * self.factor for number in value]

    put(server, [(model_type.PYTHON, Remote)], "remote", replicas=1)
    answers = call_all(server, "remote", [[n] for n in range(TOGETHER)])
    assert [answer.json()["result"] for answer in answers] == [[3 * n] for n in range(TOGETHER)]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_a_run_saved_is_there_for_who_holds_its_answer(server: Any, kind: str) -> None:
    def pre(data: Any) -> Any:
        from penstock import get, memory, save

        if data[0] == "save":
            save(f"value {data[1]}", data[1])
            memory.incr("count")
            return data
        return [get(f"value {n}") for n in range(data[1])] + [memory.incr("count", 0)]

    async def pre_async(data: Any) -> Any:
        return pre(data)

    name = f"saved-{kind}"
    flow = stage(pre=pre if kind == "plain" else pre_async)
    put(server, flow, name, replicas=1, concurrency=8)
    answers = call_all(server, name, [["save", n] for n in range(24)])
    assert {answer.status_code for answer in answers} == {200}
    assert call(server, name, ["read", 24]).json()["result"] == [*range(24), 24]


@pytest.mark.parametrize("number", [0, 1025])
def test_a_number_of_runs_out_of_range_is_refused(server: Any, number: int) -> None:
    with pytest.raises(InvalidSetting, match=f"concurrency is {number}; it must be from 1 to 1024"):
        put(server, stage(), "too-many", concurrency=number)


def test_as_many_runs_as_may_be_are_inside_at_once(server: Any, notes: Path) -> None:
    flow = stage(**acting("async", notes))
    endpoint = put(server, flow, "many", replicas=1, concurrency=1024, max_queue=2000)
    address = urlsplit(str(endpoint))
    many = 600
    body = json.dumps(["sleep", "one"]).encode()
    request = request_bytes(str(endpoint), server.keys["predict"], body)
    clients = [socket.create_connection((address.hostname, address.port), 10) for _ in range(many)]
    try:
        for client in clients:
            client.sendall(request)
        wait_until(lambda: begun(notes) == many)
        notes.with_name("go").touch()
        for client in clients:
            client.settimeout(30)
            assert client.recv(12) == b"HTTP/1.1 200"
    finally:
        for client in clients:
            client.close()
