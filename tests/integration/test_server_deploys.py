"""Deploys on a real server with real workers: switching, restarting, draining, what is loaded."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from penstock import Endpoint, deploy, model_type
from penstock.codec.bundle import Blob, Interpreter, Manifest, StageEntry, as_plain
from penstock.core.errors import PenstockError

Start = Callable[..., Any]

FRAMEWORKS = ("torch", "xgboost", "sklearn", "onnxruntime", "pandas", "numpy", "PIL")
PICKLERS = ("cloudpickle", "joblib", "dill")


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


def put(server: Any, model: Path, name: str, **options: Any) -> Endpoint:
    functions = options.pop("functions", {})
    return deploy(
        [(model_type.SKLEARN_PREPROCESSOR, model, functions)],
        name,
        server.keys["deploy"],
        server=server.url,
        **options,
    )


def get(server: Any, path: str, key: str = "deploy") -> Any:
    return httpx2.get(server.url + path, headers={"Authorization": server.keys[key]}).json()


def predict(url: str, key: str, data: Any = ((1.0,),)) -> httpx2.Response:
    return httpx2.post(url, json=data, headers={"Authorization": key}, timeout=60)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_calls_are_answered_without_a_failure_while_versions_change(
    server: Any, model: Path
) -> None:
    endpoint = str(put(server, model, "changing"))
    stop = threading.Event()

    def keep_calling() -> list[int]:
        seen = []
        with httpx2.Client(headers={"Authorization": server.keys["predict"]}) as http:
            while not stop.is_set():
                seen.append(http.post(endpoint, json=[[2.0]]).status_code)
        return seen

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(keep_calling) for _ in range(4)]
        try:
            for number in (2, 3, 4):
                assert put(server, model, "changing").version == number
        finally:
            stop.set()
    statuses = [status for caller in callers for status in caller.result()]
    assert len(statuses) >= 20
    assert set(statuses) == {200}


def test_a_call_whose_body_is_still_arriving_is_answered_by_the_new_version(
    server: Any, model: Path
) -> None:
    put(server, model, "arriving")
    address = urlsplit(server.url)
    body = b"[[4.0]]"
    head = (
        "POST /v1/default/arriving/predict HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
        f"Authorization: {server.keys['predict']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(head.encode() + body[:3])
        put(server, model, "arriving")
        connection.sendall(body[3:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer


def test_two_deploys_of_one_name_at_once_both_succeed(server: Any, model: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(put, server, model, "twice") for _ in range(2)]
        assert sorted(one.result().version for one in both) == [1, 2]
    assert get(server, "/v1/default/twice")["active"] == 2


def test_a_broken_candidate_leaves_the_old_version_serving(
    server: Any, model: Path, tmp_path: Path
) -> None:
    endpoint = str(put(server, model, "careful"))
    broken = tmp_path / "broken.joblib"
    broken.write_bytes(b"this is no model")
    with pytest.raises(PenstockError) as caught:
        put(server, broken, "careful")
    assert caught.value.stage == 1
    assert predict(endpoint, server.keys["predict"]).status_code == 200
    found = get(server, "/v1/default/careful")
    assert found["active"] == 1
    if len(found["versions"]) == 2:  # refused by the worker rather than before the upload
        assert found["versions"][0]["state"] == "failed"


def test_a_deploy_whose_client_goes_away_goes_on(server: Any, model: Path) -> None:
    put(server, model, "leaving")
    # The same bundle again, by hand, from a client that hangs up after the first event.
    raw = manifest_of(model)
    with httpx2.Client(headers={"Authorization": server.keys["deploy"]}, timeout=60) as http:
        url = f"{server.url}/v1/default/leaving/versions"
        with http.stream("POST", url, json={"manifest": raw}) as answer:
            first = json.loads(next(answer.iter_lines()))
            assert first["event"] == "step"
    deadline = time.monotonic() + 60
    while get(server, "/v1/default/leaving")["active"] != 2:
        assert time.monotonic() < deadline


def manifest_of(model: Path) -> dict[str, Any]:
    data = model.read_bytes()
    blob = Blob(model.name, hashlib.sha256(data).hexdigest(), len(data))
    found = as_plain(Manifest(Interpreter.current(), [StageEntry("sklearn_preprocessor", blob)]))
    assert isinstance(found, dict)
    return found


def test_after_a_restart_the_active_version_serves_again(start_server: Start, model: Path) -> None:
    first = start_server()
    key, keys = first.keys["predict"], first.keys
    put(first, model, "lasting")
    put(first, model, "lasting")
    first.kill()
    second = start_server(first.data)
    endpoint = f"{second.url}/v1/default/lasting/predict"
    deadline = time.monotonic() + 60
    while (answer := predict(endpoint, key)).status_code == 503:
        assert answer.headers["retry-after"]
        assert time.monotonic() < deadline
    assert answer.json()["result"] == [[1.0]]
    second.keys = keys
    assert get(second, "/v1/default/lasting")["active"] == 2
    assert httpx2.get(f"{second.url}/readyz").status_code == 200


def test_a_termination_lets_calls_in_hand_finish(start_server: Start, model: Path) -> None:
    live = start_server()

    def pre(data: Any) -> Any:
        import time

        print("waiting", flush=True)
        time.sleep(0.7)
        return data

    endpoint = put(live, model, "slow", functions={"pre": pre})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(predict, str(endpoint), live.keys["predict"])
        _wait_until_inside(live, "slow")
        workers = [r["pid"] for r in get(live, "/v1/default/slow")["replicas"]]
        assert live.stop() == 0
        assert call.result().status_code == 200
    assert [pid for pid in workers if alive(pid)] == []


def test_a_second_signal_stops_at_once(start_server: Start, model: Path) -> None:
    live = start_server()

    def pre(data: Any) -> Any:
        import time

        time.sleep(60)
        return data

    endpoint = put(live, model, "stuck", functions={"pre": pre})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(predict, str(endpoint), live.keys["predict"])
        _wait_until_inside(live, "stuck")
        workers = [r["pid"] for r in get(live, "/v1/default/stuck")["replicas"]]
        begun = time.monotonic()
        live.signal(signal.SIGTERM)
        live.wait_for(lambda s: "Stopping" in s.log)
        live.signal(signal.SIGTERM)
        live.wait()
        assert time.monotonic() - begun < 50  # not the time that the call takes
        assert failed(call)
    assert [pid for pid in workers if alive(pid)] == []


def failed(call: concurrent.futures.Future[httpx2.Response]) -> bool:
    """Whether a call got an error, or no answer at all."""
    try:
        return call.result().status_code >= 500
    except httpx2.TransportError:
        return True


def _wait_until_inside(server: Any, name: str) -> None:
    deadline = time.monotonic() + 60
    while not any(r["in_flight"] for r in get(server, f"/v1/default/{name}")["replicas"]):
        assert time.monotonic() < deadline


def test_the_server_process_has_no_framework_and_no_pickler_after_serving(
    start_server: Start, model: Path, tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    listing = tmp_path / "modules.json"
    (hook / "sitecustomize.py").write_text(
        "import json, os, signal, sys\n"
        "def dump(*_):\n"
        f"    with open({str(listing)!r} + '.new', 'w') as out:\n"
        "        json.dump(sorted(sys.modules), out)\n"
        f"    os.rename({str(listing)!r} + '.new', {str(listing)!r})\n"
        "signal.signal(signal.SIGUSR1, dump)\n"
    )
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    live = start_server(environment={"PYTHONPATH": path})
    endpoint = put(live, model, "counted", example=[[1.0]])
    assert predict(str(endpoint), live.keys["predict"]).status_code == 200
    get(live, "/v1/environment")
    live.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 60
    while not listing.exists():
        assert time.monotonic() < deadline
    loaded = set(json.loads(listing.read_text()))
    assert "penstock.control.versions" in loaded
    assert [m for m in FRAMEWORKS + PICKLERS if m in loaded] == []
