"""`kill -9` of gateways: each costs its own connections only, and no worker.

Each round kills both extra gateways of a server at once, under open connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateway_lines import GATEWAYS, Line, gateways_of, request
from versioned import put

from penstock import Endpoint, model_type


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Iterator[Any]:
    """A server with three gateways."""
    data = tmp_path_factory.mktemp("kills") / "data"
    live = launch_server(data, {"PENSTOCK_GATEWAYS": str(GATEWAYS)})
    gateways_of(live)
    yield live
    assert live.stop() == 0, live.log


def numbering() -> list[Any]:
    """A flow whose answer says how many calls its worker has had: it counts on in one process."""
    seen: list[int] = []

    def model(value: Any) -> Any:
        seen.append(1)
        return [len(seen)]

    return [(model_type.PYTHON, model)]


def replicas_of(crowd: Any, endpoint: Endpoint) -> list[int]:
    url = f"{crowd.url}/v1/{endpoint.project}/{endpoint.name}"
    found = httpx2.get(url, headers={"Authorization": crowd.keys["deploy"]}).json()
    return [replica["pid"] for replica in found["replicas"]]


def calls_had(crowd: Any, ask: bytes) -> int:
    with Line(crowd) as line:
        status, body = line.ask(ask)
    assert status == 200
    had: int = json.loads(body)["result"][0]
    return had


def kill_gateways(crowd: Any, ask: bytes) -> float:
    """Kill the extra gateways under open connections; return the seconds until others accept."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(Line(crowd)) for _ in range(16 * GATEWAYS)]
        assert {line.ask(ask)[0] for line in lines} == {200}
        victims = gateways_of(crowd)
        killed = time.monotonic()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        lost = 0
        for line in lines:
            try:
                assert line.ask(ask)[0] == 200
            except ConnectionError:
                lost += 1
        assert 0 < lost < len(lines)
        # New connections are answered throughout: those that wait for a killed one by the next.
        fresh = [stack.enter_context(Line(crowd)) for _ in range(16 * GATEWAYS)]
        assert {line.ask(ask)[0] for line in fresh} == {200}
        took = time.monotonic() - killed
        assert not set(victims) & set(gateways_of(crowd))
    return took


def kill_again_and_again(crowd: Any, name: str, kills: int) -> None:
    endpoint = put(crowd, numbering(), name)
    worker = replicas_of(crowd, endpoint)
    ask = request(name, crowd.keys["predict"])
    before = calls_had(crowd, ask)
    took: list[float] = []
    while len(took) * (GATEWAYS - 1) < kills:
        took.append(kill_gateways(crowd, ask))
        print(f"\r{len(took) * (GATEWAYS - 1)}/{kills} gateways killed", end="", flush=True)
    assert calls_had(crowd, ask) > before + 100 * len(took), "the model was loaded again"
    assert replicas_of(crowd, endpoint) == worker, "a worker went with a gateway"
    print(
        f"\n{len(took) * (GATEWAYS - 1)} gateways killed; new connections are answered "
        f"{statistics.median(took):.2f} s later (median), {max(took):.2f} s at most"
    )


def test_killed_gateways_cost_their_own_connections_only_and_no_worker(crowd: Any) -> None:
    kill_again_and_again(crowd, "killed", 50)


@pytest.mark.soak
def test_500_killed_gateways_cost_their_own_connections_only(crowd: Any) -> None:
    kill_again_and_again(crowd, "killed-often", 500)
