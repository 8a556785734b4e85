"""User code at its worst, on a real server: it hurts its own deployment and nothing else."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from open_loop import Background
from versioned import put

from penstock import deploy, model_type
from penstock.core.errors import PenstockError


def exits() -> None:
    import os

    os._exit(7)


def crashes() -> None:
    import ctypes

    ctypes.string_at(0)


def leaves() -> None:
    import sys

    sys.exit("enough")


def leaks_descriptors() -> None:
    import os

    while True:
        os.open("/dev/null", os.O_RDONLY)


def prints(mebibytes: int) -> Callable[[], None]:
    def flood() -> None:
        line = "x" * 8191 + "\n"
        for _ in range(mebibytes):
            print(line * 128, end="")
        print("the last line", flush=True)

    return flood


def multiplies() -> None:
    import os
    import time

    for _ in range(5):
        os.fork()  # 31 more, each in the group of the worker
    time.sleep(600)


def forks_until_it_may_not() -> None:
    import os
    import time

    try:
        while os.fork():
            pass
    except OSError as refused:
        print(f"no more processes: {refused}", flush=True)
    time.sleep(600)


def doing(what: Callable[[], None]) -> list[Any]:
    """A flow that answers 0 and does `what` on anything else."""

    def pre(data: Any) -> Any:
        if data != [0]:
            what()
        return data

    def model(value: Any) -> Any:
        return value

    return [(model_type.PYTHON, model, {"pre": pre})]


def call(server: Any, name: str, data: Any) -> int:
    return httpx2.post(
        f"{server.url}/v1/default/{name}/predict",
        json=data,
        headers={"Authorization": server.keys["predict"]},
        timeout=120,
    ).status_code


def call_beside_a_neighbour(server: Any, name: str) -> int:
    """Return the status of the harmful call; a neighbour at 50 requests/s must not notice."""
    neighbour = str(put(server, doing(exits), "next-door"))
    with Background(neighbour, server.keys["predict"], 50.0, lambda _: b"[0]") as outcome:
        status = call(server, name, [1])
        assert call(server, name, [0]) == 200
    assert outcome.failed == []
    return status


@pytest.mark.parametrize(
    ("what", "status"),
    [(exits, 502), (crashes, 502), (leaves, 500), (leaks_descriptors, 500), (prints(1024), 200)],
    ids=["exit", "segfault", "sys-exit", "descriptors", "output"],
)
def test_harm_stays_in_the_deployment(
    server: Any, what: Callable[[], None], status: int, request: pytest.FixtureRequest
) -> None:
    name = f"harm-{request.node.callspec.id}"
    put(server, doing(what), name)
    assert call_beside_a_neighbour(server, name) == status


def in_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if entry.name.isdigit() and int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


def fork_beside_a_neighbour(server: Any, name: str) -> int:
    """Return the status of a call that forks; all it left behind must end."""
    answer = httpx2.get(
        f"{server.url}/v1/default/{name}", headers={"Authorization": server.keys["deploy"]}
    ).json()
    worker = answer["replicas"][0]["pid"]
    status = call_beside_a_neighbour(server, name)
    deadline = time.monotonic() + 60
    while in_session(worker):
        assert time.monotonic() < deadline, in_session(worker)
        time.sleep(0.02)
    return status


def test_processes_that_user_code_forked_end_with_their_worker(server: Any) -> None:
    put(server, doing(multiplies), "harm-fork", timeout_s=3.0)
    assert fork_beside_a_neighbour(server, "harm-fork") == 504


@pytest.mark.soak
def test_a_function_that_forks_until_it_may_not_stays_in_its_deployment(server: Any) -> None:
    """It gets no more than 4,096 processes, or than its memory is enough for."""
    put(server, doing(forks_until_it_may_not), "harm-bomb", timeout_s=30.0, memory=2.0)
    status = fork_beside_a_neighbour(server, "harm-bomb")
    assert status in {502, 504}
    print(f"\nthe call that forked without end: {status}; no call of a neighbour failed")


def test_leaving_at_import_is_a_failed_deploy_with_the_reason(server: Any, tmp_path: Path) -> None:
    from versioned import module_that

    flow = module_that(tmp_path, "leaves_at_import", "import sys; print('last words'); sys.exit(3)")
    with pytest.raises(PenstockError, match="SystemExit") as caught:
        put(server, flow, "harm-import")
    assert caught.value.code == "load_failed"
    assert "last words" in str(caught.value)
    assert os.getpid()  # this very process is still there: the module was harmless here


class Liar:
    """Has the process that loads it name a process of somebody else's as the one it forked."""

    def __init__(self, victim: int) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        lie = (
            "from penstock.engine.local import template_process as own\n"
            f"own._branch = lambda message, work: own.Branched({self.victim})"
        )
        return exec, (lie,)


def test_a_process_that_a_version_names_as_its_own_is_not_believed(start_server: Any) -> None:
    server = start_server()
    with subprocess.Popen(["/bin/sh", "-c", "read _"], stdin=subprocess.PIPE) as victim:
        lie = Liar(victim.pid)

        def pre(data: Any, _lie: Any = lie) -> Any:
            return data

        flow = [(model_type.PYTHON, plain, {"pre": pre})]
        endpoint = deploy(flow, "lies", server.keys["deploy"], server=server.url, quiet=True)
        assert endpoint.predict([5]) == [5]
        endpoint.delete()
        server.stop()
        assert victim.poll() is None


def plain(value: Any) -> Any:
    return value
