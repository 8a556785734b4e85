"""A server with extra gateways: every process answers alike, and losing one costs little."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from gateway_lines import GATEWAYS, PATIENCE_S, Line, gateways_of, request, sockets_of

from penstock import Endpoint, deploy, model_type


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
    environment = {
        "PENSTOCK_GATEWAYS": str(GATEWAYS),
        "PENSTOCK_WEBHOOK_ALLOW": "127.0.0.1:9",
        "PENSTOCK_MAX_PARTS": "10100",
    }
    live = launch_server(data, environment)
    gateways_of(live)
    yield live
    assert live.stop() == 0, live.log


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


def test_every_gateway_sees_whatever_webhook_a_worker_would_read(
    crowd: Any, model: Path, lines: list[Line]
) -> None:
    put(crowd, model, "read-so")
    text = '{"data": [[2.0]], "webhook_endpoint": "http://127.0.0.1:9/hook"}'
    field = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n\r\n'
    hook = field % (b"webhook_endpoint", b"http://127.0.0.1:9/hook")
    parts = field % (b"data", b"[[2.0]]") + file * 10_050 + hook + b"--x--\r\n"
    # The server process keeps a connection that was handed over to it, so those come last.
    for media_type, body, chunked in (
        ("multipart/form-data; boundary=x", parts, False),
        ("application/json", text.encode("utf-8-sig"), False),
        ("application/json; charset=utf-16", text.encode("utf-16"), False),
        ("multipart/form-data; boundary=x", parts, True),
        ("application/json", text.encode("utf-8-sig"), True),
        ("application/json; charset=utf-16", text.encode("utf-16"), True),
    ):
        for line in lines[:: 8 if chunked else 3]:
            key = crowd.keys["predict"]
            sent = request("read-so", key, body, media_type=media_type, chunked=chunked)
            status, said = line.ask(sent)
            assert (status, json.loads(said).get("state")) == (202, "queued"), said
