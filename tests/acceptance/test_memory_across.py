"""Memory across requests, replicas, restarts and failures, on real servers."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import Endpoint, deploy, get, memory, model_type, save

PARALLEL = 100
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaler that leaves its input as it is."""
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = tmp_path_factory.mktemp("model") / "same.pkl"
    path.write_bytes(pickle.dumps(scaler))
    return path


def stage(model: Path, pre: Any, post: Any) -> tuple[Any, ...]:
    return (model_type.SKLEARN_PREPROCESSOR, model, {"pre": pre, "post": post})


def in_parallel(call: Callable[[int], Any], count: int = PARALLEL) -> list[Any]:
    """Return `call(0)`, `call(1)`, … made at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


# What the functions do is told by the data: {"do": ..., ...}.


def act(data: Any) -> Any:
    """Do what the request asks for; keep the answer for `tell`, in this run only."""
    what = data["do"]
    answer: Any = None
    if what == "save":
        save(data["name"], data["value"])
    elif what == "get":
        answer = get(data["name"])
    elif what == "incr":
        answer = memory.incr(data["name"])
    elif what == "add":
        answer = len(memory.update(data["name"], lambda seen: seen | {data["value"]}, set()))
    elif what == "save and fail":
        save(data["name"], data["value"])
        raise ValueError("on purpose")
    elif what == "save bytes":
        save(data["name"], b"x" * data["size"])
    elif what == "hold":
        hold(Path(data["folder"]))
    save("answer", {"pid": os.getpid(), "value": answer}, scope="run")
    return [[0.0]]


def hold(folder: Path) -> None:
    """Keep this replica busy until the test says go."""
    (folder / "pid").write_text(str(os.getpid()))
    until = time.monotonic() + DEADLINE_S
    while not (folder / "go").exists() and time.monotonic() < until:
        time.sleep(0.005)


def tell(_result: Any) -> Any:
    return get("answer", scope="run")


class Held:
    """A replica kept busy by a call, so that every other call goes to the other replica."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._pool = ThreadPoolExecutor(1)
        self._call: Future[Any] = self._pool.submit(
            endpoint.predict, {"do": "hold", "folder": str(folder)}
        )

    def __enter__(self) -> int:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            text = (self._folder / "pid").read_text() if (self._folder / "pid").exists() else ""
            if text:
                return int(text)
            if self._call.done():
                break
            time.sleep(0.005)
        raise AssertionError(f"the call did not begin: {self._call}")

    def __exit__(self, *_: object) -> None:
        (self._folder / "go").touch()
        self._call.result(DEADLINE_S)
        self._pool.shutdown()


@pytest.fixture(scope="module")
def twins(model: Path, put_once: Any) -> Endpoint:
    """A deployment with two replicas, both running, that does what it is told."""
    endpoint = put_once([stage(model, act, tell)], "two-replicas", replicas=2)
    until = time.monotonic() + DEADLINE_S
    headers = {"Authorization": str(endpoint._api_key)}
    address = endpoint.url.removesuffix("/predict")
    while time.monotonic() < until:
        replicas = httpx2.get(address, headers=headers).json()["replicas"]
        if [replica["state"] for replica in replicas] == ["ready", "ready"]:
            return endpoint
        time.sleep(0.02)
    raise AssertionError(f"two replicas were asked for: {replicas}")


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_hundred_parallel_requests_under_one_name_read_their_own_value(
    model: Path, put: Any, replicas: int
) -> None:
    def keep(data: Any) -> Any:
        save("value", data)
        return [[0.0]]

    def read(result: Any) -> Any:
        return get("value")

    endpoint = put([stage(model, keep, read)], replicas=replicas)
    for _ in range(3):
        assert in_parallel(lambda n: endpoint.predict([n])) == [[n] for n in range(PARALLEL)]
    assert endpoint.predict(["last"]) == ["last"]


def test_a_value_saved_by_one_replica_is_read_by_the_other(twins: Endpoint, tmp_path: Path) -> None:
    with Held(twins, tmp_path / "first") as reader:
        saved = twins.predict({"do": "save", "name": "shared", "value": {"from": "one"}})
        assert saved["pid"] != reader
        second = Held(twins, tmp_path / "second")
        assert second.__enter__() == saved["pid"]
    # Now the replica that saved is held, so the other one answers.
    with second:
        read = twins.predict({"do": "get", "name": "shared"})
    assert read == {"pid": reader, "value": {"from": "one"}}


def test_a_value_changed_by_one_replica_is_seen_changed_by_the_other(
    twins: Endpoint, tmp_path: Path
) -> None:
    pids = set()
    for number in range(6):
        with Held(twins, tmp_path / str(number)) as held:
            pids.add(held)
            twins.predict({"do": "save", "name": "turn", "value": number})
        found = in_parallel(lambda _: twins.predict({"do": "get", "name": "turn"}), 8)
        assert {answer["value"] for answer in found} == {number}
        pids |= {answer["pid"] for answer in found}
    assert len(pids) == 2


def test_parallel_counting_across_replicas_loses_nothing(twins: Endpoint, tmp_path: Path) -> None:
    with Held(twins, tmp_path / "held"):
        first = twins.predict({"do": "incr", "name": "calls"})
    found = in_parallel(lambda _: twins.predict({"do": "incr", "name": "calls"}))
    assert sorted(a["value"] for a in found) == list(range(2, PARALLEL + 2))
    assert first["value"] == 1
    assert twins.predict({"do": "get", "name": "calls"})["value"] == PARALLEL + 1


def test_parallel_updates_across_replicas_lose_nothing(twins: Endpoint) -> None:
    def add(number: int) -> Any:
        return twins.predict({"do": "add", "name": "seen", "value": number})["value"]

    assert sorted(in_parallel(add, 32)) == list(range(1, 33))


def test_a_run_that_fails_publishes_nothing(twins: Endpoint) -> None:
    twins.predict({"do": "save", "name": "kept", "value": "before"})
    with pytest.raises(Exception, match="on purpose"):
        twins.predict({"do": "save and fail", "name": "kept", "value": "after"})
    with pytest.raises(Exception, match="on purpose"):
        twins.predict({"do": "save and fail", "name": "never", "value": 1})
    found = in_parallel(lambda _: twins.predict({"do": "get", "name": "kept"}), 8)
    assert {answer["value"] for answer in found} == {"before"}
    told = asked(twins, {"do": "get", "name": "never"})
    assert told.json()["error"]["type"] == "NameError"


def asked(endpoint: Endpoint, data: Any) -> httpx2.Response:
    headers = {"Authorization": str(endpoint._api_key)}
    return httpx2.post(endpoint.url, json={"data": data}, headers=headers, timeout=60)


def test_a_name_nobody_saved_is_a_name_error_that_names_stage_function_and_name(
    twins: Endpoint,
) -> None:
    answer = asked(twins, {"do": "get", "name": "labels"})
    error = answer.json()["error"]
    assert answer.status_code == 500
    assert (error["code"], error["stage"], error["function"]) == ("function_failed", 1, "pre")
    assert error["type"] == "NameError"
    assert "'labels'" in error["message"]
    assert "pre of stage 1" in error["message"]


def test_a_run_that_saves_more_than_can_be_stored_gets_an_error_and_its_replica_lives_on(
    model: Path, put: Any
) -> None:
    endpoint = put([stage(model, act, tell)], replicas=1)
    replica = endpoint.predict({"do": "save bytes", "name": "small", "size": 1})["pid"]
    for mib in (20, 70):
        refused = asked(endpoint, {"do": "save bytes", "name": "large", "size": mib << 20})
        assert refused.status_code == 500
        assert refused.json()["error"]["code"] == "memory_quota_exceeded"
        assert "'large'" in refused.json()["error"]["message"]
    found = endpoint.predict({"do": "incr", "name": "calls"})
    assert found == {"pid": replica, "value": 1}


def wait_until_ready(url: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while httpx2.get(f"{url}/readyz").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_values_survive_a_restart_of_the_server_and_a_new_version(
    model: Path, start_server: Callable[..., Any], tmp_path: Path
) -> None:
    first = start_server(tmp_path / "data")
    key = first.keys["deploy"]
    flow = [stage(model, act, tell)]
    endpoint = deploy(flow, "kept", key, server=first.url, quiet=True)
    endpoint.predict({"do": "save", "name": "vocabulary", "value": ["a", "b"]})
    endpoint.predict({"do": "incr", "name": "calls"})
    assert first.stop() == 0
    second = start_server(tmp_path / "data")
    wait_until_ready(second.url)
    again = Endpoint(f"{second.url}/v1/default/kept/predict", key)
    assert again.predict({"do": "get", "name": "vocabulary"})["value"] == ["a", "b"]
    assert again.predict({"do": "incr", "name": "calls"})["value"] == 2
    second.kill()
    third = start_server(tmp_path / "data")
    newer = deploy(flow, "kept", key, server=third.url, quiet=True)
    assert newer.version == 2
    assert newer.predict({"do": "get", "name": "vocabulary"})["value"] == ["a", "b"]
    assert newer.predict({"do": "incr", "name": "calls"})["value"] == 3
