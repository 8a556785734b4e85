"""`kill -9` of a worker inside a call: it is a 502 that may be repeated, all others are 200."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import httpx2
from open_loop import Background
from versioned import put

from penstock import model_type

#: Kills, and calls that wait behind the one that is hit.
KILLS, WAITING = 100, 5


def holding() -> list[Any]:
    """A flow that stays inside a call that names a file, and writes its process id there."""

    def pre(data: Any) -> Any:
        import os
        import time

        if data[0]:
            with open(f"{data[0]}.part", "w") as file:
                file.write(str(os.getpid()))
            os.rename(f"{data[0]}.part", data[0])
            time.sleep(60)
        return data

    def model(value: Any) -> Any:
        return value

    return [(model_type.PYTHON, model, {"pre": pre})]


def call(http: httpx2.Client, url: str, value: str) -> tuple[httpx2.Response, float]:
    return http.post(url, json=[value]), time.monotonic()


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, "no worker began the call"
        time.sleep(0.001)
    return int(path.read_text())


def spread(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.0f} ms (median), {1e3 * max(seconds):.0f} at most"


def test_a_hundred_killed_workers_cost_only_the_call_inside_each(
    server: Any, tmp_path: Path
) -> None:
    endpoint = str(put(server, holding(), "held", timeout_s=50, max_batch=1))
    neighbour = str(put(server, holding(), "beside-the-held", timeout_s=50))
    key = server.keys["predict"]
    victims, others = [], []
    with (
        httpx2.Client(headers={"Authorization": key}, timeout=60) as http,
        concurrent.futures.ThreadPoolExecutor(1 + WAITING) as pool,
        Background(neighbour, key, 50.0, lambda _: b'[""]') as outcome,
    ):
        for number in range(KILLS):
            inside = tmp_path / f"inside-{number}"
            victim = pool.submit(call, http, endpoint, str(inside))
            worker = wait_for(inside)
            waiting = [pool.submit(call, http, endpoint, "") for _ in range(WAITING)]
            killed = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            answer, at = victim.result()
            assert answer.status_code == 502, answer.text
            error = answer.json()["error"]
            assert (error["code"], error["facts"]["signal"]) == ("worker_died", "SIGKILL")
            assert error["facts"]["retryable"] is True
            victims.append(at - killed)
            assert {other.result()[0].status_code for other in waiting} == {200}
            others.append(max(other.result()[1] for other in waiting) - killed)
    assert outcome.failed == []
    print(
        f"\n{KILLS} workers killed: the call inside was told after {spread(victims)}, "
        f"the others were answered after {spread(others)}; "
        f"{len(outcome.samples)} calls of a neighbour, none failed"
    )
    # The promise is a second; the median, because the machine may be busy with other tests.
    assert statistics.median(victims) <= 1.0
