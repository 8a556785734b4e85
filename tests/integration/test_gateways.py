"""A server with extra gateways: every process answers alike, and losing one costs little."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from penstock import Endpoint, deploy, model_type

PATIENCE_S = 20.0
GATEWAYS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaler that leaves its input as it is."""
    import joblib
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = tmp_path_factory.mktemp("model") / "same.joblib"
    joblib.dump(scaler, path)
    return path


def put(server: Any, model: Path, name: str, functions: dict[str, Any] | None = None) -> Endpoint:
    return deploy(
        [(model_type.SKLEARN_PREPROCESSOR, model, functions or {})],
        name,
        server.keys["deploy"],
        server=server.url,
    )


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Iterator[Any]:
    """A server with three gateways."""
    data = tmp_path_factory.mktemp("crowd") / "data"
    live = launch_server(
        data, {"PENSTOCK_GATEWAYS": str(GATEWAYS), "PENSTOCK_WEBHOOK_ALLOW": "127.0.0.1:9"}
    )
    gateways_of(live)
    yield live
    assert live.stop() == 0, live.log


def gateways_of(server: Any) -> list[int]:
    """Return the process ids of the extra gateways, once each of them accepts connections."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        found = [int(pid) for pid in children if is_gateway(pid)]
        if len(found) == GATEWAYS - 1 and all(reached(server, pid) for pid in found):
            return found
        assert time.monotonic() < deadline, server.log


def is_gateway(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return b"gateway_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def sockets_of(pid: int) -> int:
    links = []
    with contextlib.suppress(OSError):  # it ended
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(fd))
    return sum(link.startswith("socket:") for link in links)


def reached(server: Any, pid: int) -> bool:
    """Whether new connections get to a process."""
    before = sockets_of(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(8 * GATEWAYS):
            line = stack.enter_context(Line(server))
            line.connection.sendall(b"G")  # the beginning of some request
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            if sockets_of(pid) > before:
                return True
    return False


class Line:
    """A kept connection."""

    def __init__(self, server: Any) -> None:
        address = urlsplit(server.url)
        self.connection = socket.create_connection((address.hostname, address.port), PATIENCE_S)
        self._file = self.connection.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.connection.close()

    def ask(self, data: bytes) -> tuple[int, bytes]:
        self.connection.sendall(data)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        first = self._file.readline()
        if not first:
            raise ConnectionResetError
        size = 0
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name == b"content-length":
                size = int(value)
        return int(first.split()[1]), self._file.read(size)


def request(
    name: str, key: str, body: bytes = b"[[2.0]]", method: str = "POST", path: str = ""
) -> bytes:
    head = (
        f"{method} {path or f'/v1/default/{name}/predict'} HTTP/1.1\r\nHost: test\r\n"
        f"Authorization: {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture
def lines(crowd: Any) -> Iterator[list[Line]]:
    """So many connections that every gateway has some."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Line(crowd)) for _ in range(16 * GATEWAYS)]


def test_every_gateway_answers_predict_calls(crowd: Any, model: Path, lines: list[Line]) -> None:
    put(crowd, model, "same")
    before = [sockets_of(pid) for pid in gateways_of(crowd)]
    for line in lines:
        status, body = line.ask(request("same", crowd.keys["predict"]))
        assert (status, json.loads(body)["result"]) == (200, [[2.0]])
    assert all(before)


def test_large_bodies_pass_through_every_gateway(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "large")
    rows = json.dumps([[1.5]] * 60_000).encode()
    for line in lines[:12]:
        status, body = line.ask(request("large", crowd.keys["predict"], rows))
        assert status == 200
        assert json.loads(body)["result"] == [[1.5]] * 60_000


def test_a_connection_may_ask_for_anything_anywhere(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "mixed")
    for line in lines:
        key = crowd.keys["predict"]
        # Sent at once: the connection changes hands with answers under way.
        line.connection.sendall(
            request("mixed", key) * 3
            + request("", crowd.keys["deploy"], b"", "GET", "/v1/whoami")
            + request("mixed", key) * 2
        )
        seen = [line.answer() for _ in range(6)]
        assert [status for status, _ in seen] == [200] * 6
        assert json.loads(seen[3][1])["scope"] == "deploy"
        assert json.loads(seen[5][1])["result"] == [[2.0]]


def test_a_large_upload_may_begin_at_any_gateway(crowd: Any) -> None:
    import hashlib

    for number in range(8):
        content = os.urandom(1_000_000 + number)
        sha256 = hashlib.sha256(content).hexdigest()
        answer = httpx2.put(
            f"{crowd.url}/v1/default/blobs/{sha256}",
            content=content,
            headers={"Authorization": crowd.keys["deploy"]},
        )
        assert answer.status_code in {200, 201, 204}, answer.text


def test_a_new_key_works_and_a_revoked_one_is_refused_everywhere_at_once(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "guarded")
    admin = {"Authorization": crowd.keys["admin"]}
    for _ in range(3):
        made = httpx2.post(
            f"{crowd.url}/v1/default/keys", json={"scope": "predict"}, headers=admin
        ).json()
        ask = request("guarded", made["key"])
        assert {line.ask(ask)[0] for line in lines} == {200}
        gone = httpx2.delete(f"{crowd.url}/v1/default/keys/{made['key_id']}", headers=admin)
        assert gone.status_code in {200, 204}
        assert {line.ask(ask)[0] for line in lines} == {401}


def test_a_new_version_answers_everywhere_at_once_and_no_call_fails(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    def version_of(number: int) -> Callable[[Any], Any]:
        def post(result: Any) -> Any:
            return [number]

        return post

    put(crowd, model, "changing", {"post": version_of(1)})
    stop = threading.Event()
    ask = request("changing", crowd.keys["predict"])

    def keep_calling(line: Line) -> list[int]:
        seen = []
        while not stop.is_set():
            seen.append(line.ask(ask)[0])
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(keep_calling, line) for line in lines[:8]]
        try:
            for number in (2, 3, 4):
                put(crowd, model, "changing", {"post": version_of(number)})
                answers = {line.ask(ask)[1][:13] for line in lines[8:]}
                assert answers == {b'{"result":[%d]' % number}
        finally:
            stop.set()
    statuses = [status for caller in callers for status in caller.result()]
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_a_killed_gateway_costs_its_own_connections_only_and_is_replaced(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "killed")
    kill_a_gateway(crowd, "killed", lines)


def kill_a_gateway(crowd: Any, name: str, lines: list[Line]) -> None:
    ask = request(name, crowd.keys["predict"])
    assert {line.ask(ask)[0] for line in lines} == {200}
    victim = gateways_of(crowd)[0]
    os.kill(victim, signal.SIGKILL)
    lost = 0
    for line in lines:
        try:
            assert line.ask(ask)[0] == 200
        except ConnectionError:
            lost += 1
    assert 0 < lost < len(lines)
    with contextlib.ExitStack() as stack:
        # New connections are answered throughout: those that wait for the killed one by the next.
        fresh = [stack.enter_context(Line(crowd)) for _ in range(16 * GATEWAYS)]
        assert {line.ask(ask)[0] for line in fresh} == {200}
    assert victim not in gateways_of(crowd)


@pytest.mark.soak
def test_500_killed_gateways_cost_their_own_connections_only(crowd: Any, model: Path) -> None:
    endpoint = put(crowd, model, "killed-often")
    worker = replicas_of(crowd, endpoint)
    for number in range(500):
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(Line(crowd)) for _ in range(16 * GATEWAYS)]
            kill_a_gateway(crowd, "killed-often", lines)
        print(f"\r{number + 1}/500 gateways killed", end="", flush=True)
    assert replicas_of(crowd, endpoint) == worker, "a worker went with a gateway"


def replicas_of(crowd: Any, endpoint: Endpoint) -> list[int]:
    url = f"{crowd.url}/v1/{endpoint.project}/{endpoint.name}"
    found = httpx2.get(url, headers={"Authorization": crowd.keys["deploy"]}).json()
    return [replica["pid"] for replica in found["replicas"]]


def test_a_gateway_told_to_end_answers_what_it_has(crowd: Any, model: Path) -> None:
    def wait(data: Any) -> Any:
        import time

        time.sleep(0.5)
        return data

    put(crowd, model, "slow", {"pre": wait})
    old = gateways_of(crowd)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(Line(crowd)) for _ in range(6)]
        for line in waiting:
            line.connection.sendall(request("slow", crowd.keys["predict"]))
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        assert {line.answer()[0] for line in waiting} == {200}
    assert not set(old) & set(gateways_of(crowd))


def test_gateways_end_with_a_server_that_is_killed(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = start_server(gateways=GATEWAYS)
    pids = gateways_of(live)
    live.kill()
    deadline = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline


def test_calls_in_hand_are_answered_when_the_server_is_told_to_stop(
    start_server: Any, model: Path
) -> None:
    def wait(data: Any) -> Any:
        import time

        time.sleep(0.5)
        return data

    live = start_server(gateways=GATEWAYS)
    gateways_of(live)
    put(live, model, "slow", {"pre": wait})
    ask = request("slow", live.keys["predict"])
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(Line(live)) for _ in range(6)]
        for line in waiting:
            line.connection.sendall(ask)
        time_to_read = json.loads(httpx2.get(f"{live.url}/healthz").text)
        assert time_to_read["status"] == "ok"
        live.signal(signal.SIGTERM)
        answers = [line.answer()[0] for line in waiting]
    assert answers == [200] * 6
    assert live.wait() == 0
    assert "Traceback" not in live.log


def test_two_servers_with_gateways_do_not_share_a_port(start_server: Any, tmp_path: Path) -> None:
    import subprocess
    import sys

    live = start_server(gateways=2)
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "serve", f"--data={tmp_path / 'other'}",
         f"--port={urlsplit(live.url).port}", "--gateways=2"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is in use" in done.stderr


def test_a_call_that_names_a_webhook_becomes_a_run_at_every_gateway(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "later")
    body = b'{"data": [[2.0]], "webhook_endpoint": "http://127.0.0.1:9/hook"}'
    for line in lines:
        status, said = line.ask(request("later", crowd.keys["predict"], body))
        assert (status, json.loads(said)["state"]) == (202, "queued")
        # The word alone makes no run.
        text = request("later", crowd.keys["predict"], b'[["webhook_endpoint"]]')
        assert line.ask(text)[0] == 422
    refused = body.replace(b"127.0.0.1:9", b"127.0.0.1:10")
    assert {line.ask(request("later", crowd.keys["predict"], refused))[0] for line in lines} == {
        422
    }
