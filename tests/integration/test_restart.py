"""`kill -9` of the server on the interesting lines: the next server has everything back.

The ledger is this process: what it was told is done must be there after every restart. `make soak`
kills at random moments, many times.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from versioned import put

from penstock import model_type
from penstock.core.errors import PenstockError

Start = Callable[..., Any]

NAME = "lasting"

#: Where the server is killed while it stores a file, adds a version, switches to it, or publishes
#: what a function saved; in an order in which no restart passes the place itself.
PLACES = [
    "blob.writing",
    "blob.syncing",
    "blob.placed",
    "blob.committed",
    "records.adding",
    "records.moving",
    "deploy.recorded",
    "deploy.loaded",
    "deploy.ready",
    "records.activating",
    "serving.activated",
    "serving.switched",
    "memory.publishing",
    "memory.published",
]


def remembering(number: int) -> list[Any]:
    """A flow that saves what it is sent, unless that is negative, and tells what it has."""

    def pre(data: Any) -> Any:
        from penstock import save

        if data[0][0] >= 0:
            save("mark", data[0][0])
        return data

    def post(result: Any) -> Any:
        from penstock import get

        return {"number": number, "mark": get("mark")}

    def same(value: Any) -> Any:
        return value

    return [(model_type.PYTHON, same, {"pre": pre, "post": post})]


class Ledger:
    """What was acknowledged, and what may have happened besides.

    Attributes:
        active: Versions that may be the active one.
        marks: Values that may be the saved one.
        begun: Number of the version that was begun last.
    """

    def __init__(self) -> None:
        self.active: set[int] = set()
        self.marks: set[float] = set()
        self.begun = 0
        self.keys: dict[str, str] = {}

    def deploy(self, server: Any) -> None:
        self.begun += 1
        flow = remembering(self.begun)
        before = set(self.active)
        try:
            endpoint = put(server, flow, NAME)
        except (PenstockError, OSError):
            self.active = before | {self.begun}
        else:
            # A version that never was recorded gives its number to the next one.
            self.active = {self.begun}
            assert endpoint.startswith(server.url)

    def save(self, server: Any, mark: float) -> None:
        try:
            answer = call(server, mark)
        except httpx2.TransportError:
            self.marks |= {mark}
            return
        self.marks = {mark} if answer.status_code == 200 else self.marks | {mark}

    def check(self, server: Any) -> None:
        """Serves again within seconds, with an acknowledged version and mark."""
        deadline = time.monotonic() + 60
        while (answer := call(server, -1.0)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        assert result["number"] in self.active
        assert result["mark"] in self.marks
        self.active, self.marks = {result["number"]}, {result["mark"]}
        found = show(server)
        states = {v["state"] for v in found["versions"]}
        assert states <= {"ready", "failed"}, states
        for version in found["versions"]:
            if version["state"] == "failed":
                assert "stopped while" in version["failure"]["message"]


def call(server: Any, value: float) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/default/{NAME}/predict",
        json=[[value]],
        headers={"Authorization": server.keys["predict"]},
        timeout=30,
    )


def show(server: Any) -> dict[str, Any]:
    headers = {"Authorization": server.keys["deploy"]}
    found: dict[str, Any] = httpx2.get(
        f"{server.url}/v1/default/{NAME}", headers=headers, timeout=30
    ).json()
    return found


def family_of(pid: int) -> list[str]:
    """Return the processes that were started for the server process `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0] if command else "Z"
        except OSError:
            continue
        words = command.split(b"\0")
        ours = any(b"penstock.wiring." in word for word in words)
        if ours and str(pid).encode() in words and state not in "ZX":
            found.append(entry.name)
    return found


def wait_until_nobody_is_left(pid: int) -> float:
    """Return how many seconds it took until every process of a dead server had ended."""
    begun = time.monotonic()
    while family_of(pid):
        assert time.monotonic() < begun + 60, f"left behind: {family_of(pid)}"
    return time.monotonic() - begun


class Took:
    """Seconds that things took, kill after kill: for people to read, the machine may be busy."""

    def __init__(self) -> None:
        self.serving: list[float] = []
        self.orphans: list[float] = []

    def start(self, start_server: Start, ledger: Ledger, data: Path, faults: str = "") -> Any:
        """Start a server and return it once it serves what it must."""
        begun = time.monotonic()
        live = start_server(data, {"PENSTOCK_FAULTS": faults} if faults else {})
        live.keys = ledger.keys
        ledger.check(live)
        self.serving.append(time.monotonic() - begun)
        return live

    def end(self, live: Any) -> None:
        """Wait until nothing is left of a server that was killed."""
        self.orphans.append(wait_until_nobody_is_left(live.pid))

    def __str__(self) -> str:
        serving, orphans = (
            f"median {statistics.median(s):.2f} s, at most {max(s):.2f} s"
            for s in (self.serving, self.orphans)
        )
        return f"from the start to the first answer {serving}; until no process is left {orphans}"


def begin(start_server: Start, ledger: Ledger) -> Any:
    first = start_server()
    ledger.keys = first.keys
    ledger.deploy(first)
    ledger.save(first, 1.0)
    assert first.keys
    assert family_of(first.pid)
    first.kill()
    wait_until_nobody_is_left(first.pid)
    return first


def test_a_server_killed_anywhere_comes_back_with_everything(
    start_server: Start,
) -> None:
    ledger, took = Ledger(), Took()
    data = begin(start_server, ledger).data
    for mark, place in enumerate(PLACES, 2):
        live = took.start(start_server, ledger, data, f"{place}=kill")
        ledger.save(live, float(mark))
        if not live.ended:
            ledger.deploy(live)
        assert live.wait() == -9, f"{place} was never passed"
        took.end(live)
    took.start(start_server, ledger, data)
    print(f"\n{1 + len(PLACES)} kills; {took}")


def test_a_deployment_of_a_name_whose_delete_was_cut_short_inherits_nothing(
    start_server: Start,
) -> None:
    ledger = Ledger()
    data = begin(start_server, ledger).data
    dying = Took().start(start_server, ledger, data, "deployment.deleted=kill")
    headers = {"Authorization": ledger.keys["deploy"]}
    address = f"/v1/default/{NAME}"
    with pytest.raises(httpx2.TransportError):
        httpx2.delete(f"{dying.url}{address}", headers=headers, timeout=30)
    assert dying.wait() == -9
    wait_until_nobody_is_left(dying.pid)
    live = start_server(data)
    live.keys = ledger.keys
    assert httpx2.delete(f"{live.url}{address}", headers=headers).status_code == 404
    ledger.deploy(live)
    error = call(live, -1.0).json()["error"]
    assert (error["type"], "'mark'" in error["message"]) == ("NameError", True), error
    assert call(live, 7.0).json()["result"] == {"number": 2, "mark": 7.0}
    assert not (data / "builds" / "default" / NAME / "1.json").exists()


def kill_at_random(start_server: Start, kills: int) -> None:
    """Kill the server at random moments while it deploys and saves."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    ledger, took = Ledger(), Took()
    data = begin(start_server, ledger).data
    for number in range(1, kills):
        live = took.start(start_server, ledger, data)
        killer = threading.Timer(dice.uniform(0.0, 0.6), live.kill)
        killer.start()
        while not live.ended:
            ledger.save(live, float(number + 1))
            if not live.ended:
                ledger.deploy(live)
        killer.join()
        took.end(live)
        print(f"\r{number + 1}/{kills} kills", end="", flush=True)
    took.start(start_server, ledger, data)
    print(f"\n{kills} kills; {took}")


def test_a_server_killed_at_random_moments_comes_back(start_server: Start) -> None:
    kill_at_random(start_server, 6)


@pytest.mark.soak
def test_a_server_killed_two_hundred_times_at_random_comes_back(
    start_server: Start,
) -> None:
    kill_at_random(start_server, 200)
