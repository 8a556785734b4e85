"""Asynchronous runs on a real server: accepting, waiting, cancelling, retrying, restarting."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from run_faults import put

from penstock import Endpoint
from penstock.core.errors import (
    Conflict,
    DeadlineExceeded,
    FunctionFailed,
    InvalidCall,
    WorkerDied,
)

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def plain(server: Any) -> Endpoint:
    """A flow that answers with its input; a negative number raises."""

    def pre(data: Any) -> Any:
        if data[0][0] < 0:
            raise ValueError("below zero")
        return data

    return put(server, "runs-plain", pre=pre)


@pytest.fixture(scope="module")
def gated(server: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A flow that waits in the worker until a file named like its number is there."""
    folder = str(tmp_path_factory.mktemp("gate"))

    def pre(data: Any) -> Any:
        import os
        import time

        with open(os.path.join(folder, "order"), "a") as order:
            order.write(f"{data[0][0]:g} ")
        give_up = time.monotonic() + 60
        while not os.path.exists(os.path.join(folder, f"{data[0][0]:g}")):
            time.sleep(0.005)
            if time.monotonic() > give_up:
                raise TimeoutError
        return data

    return put(server, "runs-gated", pre=pre), Path(folder)


def post(url: str, key: str, **request: Any) -> httpx2.Response:
    headers = {"Authorization": key, **request.pop("headers", {})}
    return httpx2.post(url, headers=headers, timeout=30, **request)


def until(holds: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return found


ENVELOPE = json.dumps({"data": [[1.0]], "webhook_endpoint": "https://example.com/hook"})


def written(media_type: str, body: bytes) -> dict[str, Any]:
    """Return a request with `ENVELOPE` as some client writes it."""
    return {"content": body, "headers": {"Content-Type": media_type}}


@pytest.mark.parametrize(
    "request_",
    [
        {"params": {"async": "true"}, "json": [[1.0]]},
        {"headers": {"Prefer": "respond-async"}, "json": [[1.0]]},
        {"json": {"data": [[1.0]], "webhook_endpoint": "https://example.com/hook"}},
        {"files": {"data": (None, "[[1.0]]"), "webhook_endpoint": (None, "https://example.com/")}},
        written("application/json", ENVELOPE.encode("utf-8-sig")),
        written("application/json; charset=utf-16", ENVELOPE.encode("utf-16")),
        written("application/json; charset=UTF-32BE", ENVELOPE.encode("utf-32-be")),
        written("application/x-www-form-urlencoded", ENVELOPE.encode() + b" " * 5000),
    ],
    ids=["query", "prefer", "envelope", "multipart", "mark", "utf-16", "utf-32", "curl"],
)
def test_each_way_of_asking_gets_the_same_202(server: Any, plain: Endpoint, request_: Any) -> None:
    answer = post(str(plain), server.keys["predict"], **request_)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert set(body) == {"run_id", "state", "message"}
    assert answer.headers["location"] == f"/v1/default/runs/{body['run_id']}"
    assert answer.headers["penstock-run-id"] == body["run_id"]
    where = f"{server.url}{answer.headers['location']}?wait=20"
    run = httpx2.get(where, headers={"Authorization": server.keys["predict"]}, timeout=30).json()
    assert (run["state"], run["result"]) == ("succeeded", [[1.0]])


def test_a_body_that_only_mentions_the_word_is_a_usual_call(server: Any, plain: Endpoint) -> None:
    key = server.keys["predict"]
    data = {"data": [[1.0]], "webhook_endpoint": None}
    assert post(str(plain), key, json=data).json()["result"] == [[1.0]]
    other = {"data": [[1.0]], "more": "webhook_endpoint"}
    assert post(str(plain), key, json=other).json()["error"]["code"] == "function_failed"
    wrong = post(str(plain), key, json={"data": [[1.0]], "webhook_endpoint": 5})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "malformed_body")


def test_a_run_tells_everything_about_itself(server: Any, plain: Endpoint) -> None:
    run = plain.submit([[1.0], [2.0]], priority=3).wait(20)
    facts = run.facts
    assert run.result() == [[1.0], [2.0]]
    assert (facts["version"], facts["attempt"], facts["priority"]) == (1, 1, 3)
    assert facts["created_at"] <= facts["started_at"] <= facts["finished_at"]
    assert facts["prediction_ids"] == [f"{run.run_id}-0", f"{run.run_id}-1"]
    assert facts["run_time_ms"] > 0
    assert "s1-model" in facts["server_timing"]
    assert "error" not in facts


def test_an_error_of_the_flow_is_final_and_raised_by_result(server: Any, plain: Endpoint) -> None:
    run = plain.submit([[-1.0]])
    with pytest.raises(FunctionFailed, match="below zero") as caught:
        run.result(20)
    assert (run.state, run.facts["attempt"]) == ("failed", 1)
    assert caught.value.facts["run_id"] == run.run_id
    assert caught.value.traceback
    key = {"Authorization": server.keys["predict"]}
    shown = httpx2.get(f"{server.url}/v1/default/runs/{run.run_id}", headers=key).json()
    assert "traceback" not in shown["error"]


def test_large_inputs_and_results_go_to_files_and_come_back(server: Any, plain: Endpoint) -> None:
    rows = [[float(number)] for number in range(50_000)]
    before = set((server.data / "blobs").rglob("*"))
    assert plain.submit(rows).result(30) == rows
    new = set((server.data / "blobs").rglob("*")) - before
    assert any(len(path.name) == 64 for path in new)  # one: input and result are the same bytes


def test_files_can_be_submitted(server: Any) -> None:
    def pre(data: Any, files: Any) -> Any:
        return [[float(len(file.read()))] for file in files]

    endpoint = put(server, "runs-files", pre=pre)
    run = endpoint.submit(["a", "b"], files=[b"123", b"4567"], idempotency_key="files")
    assert run.result(20) == [[3.0], [4.0]]
    # Another boundary, the same request.
    again = endpoint.submit(["a", "b"], files=[b"123", b"4567"], idempotency_key="files")
    assert again.run_id == run.run_id


def test_an_idempotency_key_gives_the_same_run_or_a_conflict(server: Any, plain: Endpoint) -> None:
    first = plain.submit([[5.0]], idempotency_key="once")
    again = plain.submit([[5.0]], idempotency_key="once")
    assert again.run_id == first.run_id
    with pytest.raises(Conflict, match="'once' was used for another request"):
        plain.submit([[6.0]], idempotency_key="once")
    first.wait(20)
    headers = {"Idempotency-Key": "once", "Prefer": "respond-async"}
    ended = post(str(plain), server.keys["predict"], content=b"[[5.0]]", headers={
        **headers, "Content-Type": "application/json"})  # fmt: skip
    assert (ended.status_code, ended.json()["state"]) == (200, "succeeded")
    assert plain.submit([[5.0]], idempotency_key="once").result(5) == [[5.0]]


def test_many_are_submitted_and_given_back_in_order(server: Any, plain: Endpoint) -> None:
    runs = plain.submit_many([[[float(n)]] for n in range(40)])
    assert [run.facts["result"] for run in runs] == [[[float(n)]] for n in range(40)]
    assert runs.results(5) == [[[float(n)]] for n in range(40)]


def test_each_of_many_has_its_own_files(server: Any, tmp_path: Path) -> None:
    def pre(data: Any, files: Any) -> Any:
        return [[float(len(file.read()))] for file in files]

    endpoint = put(server, "runs-files", pre=pre)
    paths = [tmp_path / f"{size}.bin" for size in (3, 100_000)]  # the second is kept as a file
    for path in paths:
        path.write_bytes(b"x" * int(path.stem))
    runs = endpoint.submit_many([[], []], files=[[path] for path in paths])
    assert runs.results(30) == [[[3.0]], [[100_000.0]]]
    with pytest.raises(InvalidCall, match="1 runs and 2 lists of files"):
        endpoint.submit_many([[]], files=[[], []])


@pytest.mark.parametrize("wish", ["maybe", "2", "True;"])
def test_a_wish_that_is_neither_yes_nor_no_is_refused(
    server: Any, plain: Endpoint, wish: str
) -> None:
    answer = post(str(plain), server.keys["predict"], params={"async": wish}, json=[[1.0]])
    assert answer.status_code == 422
    assert f"async={wish.lower()!r}" in answer.json()["error"]["message"]


def test_a_long_poll_answers_at_the_end_of_the_run(server: Any, gated: tuple) -> None:
    endpoint, folder = gated
    run = endpoint.submit([[1.0]])
    with pytest.raises(DeadlineExceeded, match="It goes on"):
        run.wait(0.1)
    threading.Timer(0.3, (folder / "1").touch).start()
    begun = time.monotonic()
    run.wait(20)
    assert run.state == "succeeded"
    assert time.monotonic() - begun < 15  # not the whole wait


def test_cancelled_runs_stay_cancelled(server: Any, gated: tuple) -> None:
    endpoint, folder = gated
    inside = endpoint.submit([[2.0]])
    until(lambda: "2 " in (folder / "order").read_text())
    assert inside.cancel().state == "cancelled"
    (folder / "2").touch()
    later = endpoint.submit([[1.0]])
    assert later.result(20) == [[1.0]]  # the worker is through with the cancelled one
    assert inside.refresh().state == "cancelled"
    with pytest.raises(Conflict, match="was cancelled"):
        inside.result()
    assert later.cancel().state == "succeeded"


def test_higher_priority_goes_first(start_server: Start, tmp_path: Path) -> None:
    live = start_server(environment={"PENSTOCK_RUNS_AT_ONCE": "1"})
    folder = str(tmp_path)

    def pre(data: Any) -> Any:
        import os
        import time

        with open(os.path.join(folder, "order"), "a") as order:
            order.write(f"{data[0][0]:g} ")
        while not os.path.exists(os.path.join(folder, "open")):
            time.sleep(0.005)
        return data

    endpoint = put(live, pre=pre)
    runs = [endpoint.submit([[0.0]])]
    until(lambda: (tmp_path / "order").exists())
    runs += [endpoint.submit([[float(n)]], priority=n % 3) for n in range(1, 7)]
    (tmp_path / "open").touch()
    for run in runs:
        run.wait(20)
    assert (tmp_path / "order").read_text().split() == ["0", "2", "5", "1", "4", "3", "6"]


def test_a_time_limit_of_its_own_fails_a_run(server: Any, gated: tuple) -> None:
    endpoint, folder = gated
    run = endpoint.submit([[3.0]], timeout_s=0.3)
    with pytest.raises(DeadlineExceeded, match=r"did not finish within 0\.3 s"):
        run.result(20)
    assert run.facts["error"]["code"] == "deadline_exceeded"
    (folder / "3").touch()


def test_a_run_whose_worker_is_killed_runs_again(server: Any, gated: tuple) -> None:
    endpoint, folder = gated
    run = endpoint.submit([[4.0]])
    until(lambda: (folder / "order").read_text().count("4 ") == 1)
    os.kill(_worker(server, "runs-gated"), signal.SIGKILL)
    until(lambda: (folder / "order").read_text().count("4 ") == 2)
    (folder / "4").touch()
    assert run.result(20) == [[4.0]]
    assert run.facts["attempt"] == 2


def test_a_run_that_kills_its_worker_each_time_fails_the_third_time(server: Any) -> None:
    def pre(data: Any) -> Any:
        import os
        import signal

        if data[0][0] == 13.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return data

    endpoint = put(server, "runs-deadly", pre=pre)
    deadly = endpoint.submit([[13.0]])
    others = endpoint.submit_many([[[float(n)]] for n in range(3)])
    with pytest.raises(WorkerDied):
        deadly.result(60)
    assert (deadly.state, deadly.facts["attempt"]) == ("failed", 3)
    assert others.results(60) == [[[0.0]], [[1.0]], [[2.0]]]


def _worker(server: Any, name: str) -> int:
    key = {"Authorization": server.keys["deploy"]}

    def pids() -> list[int]:
        found = httpx2.get(f"{server.url}/v1/default/{name}", headers=key).json()
        return [r["pid"] for r in found["replicas"]]

    return int(until(pids)[0])


def test_runs_are_listed_and_only_readers_may_list(server: Any, plain: Endpoint) -> None:
    runs = plain.submit_many([[[1.0]], [[2.0]], [[3.0]]]).wait(20)
    path = f"{server.url}/v1/default/runs"
    key = {"Authorization": server.keys["deploy"]}
    query = {"deployment": "runs-plain", "state": "succeeded", "kind": "async", "limit": "2"}
    first = httpx2.get(path, params=query, headers=key).json()
    rest = httpx2.get(path, params={**query, "before": first["next"]}, headers=key).json()
    listed = [r["run_id"] for r in first["runs"] + rest["runs"]][:3]
    assert set(listed) == {run.run_id for run in runs}
    refused = httpx2.get(path, headers={"Authorization": server.keys["predict"]})
    assert refused.status_code == 403
    assert httpx2.get(path, params={"state": "odd"}, headers=key).status_code == 422
    unknown = httpx2.get(f"{path}/nothing", headers=key)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


def test_bad_requests_to_run_later_are_refused(server: Any, plain: Endpoint) -> None:
    key = server.keys["predict"]
    for query, status in (
        ("async=true&priority=high", 422),
        ("async=true&timeout_s=0", 422),
        ("async=true&priority=99999999", 422),
    ):
        assert post(f"{plain}?{query}", key, json=[[1.0]]).status_code == status, query
    version = str(plain).replace("/predict", "/versions/1/predict?async=true")
    assert post(version, key, json=[[1.0]]).json()["error"]["code"] == "invalid_setting"
    local = {"data": [[1.0]], "webhook_endpoint": "http://127.0.0.1:1/x"}
    assert post(str(plain), key, json=local).json()["error"]["code"] == "invalid_webhook_url"
    assert post(f"{plain}?async=true", "nobody", json=[[1.0]]).status_code == 401


def test_queued_runs_of_a_deleted_deployment_fail(server: Any, gated: tuple) -> None:
    _endpoint, folder = gated
    gate = str(folder)

    def pre(data: Any) -> Any:
        import os
        import time

        while not os.path.exists(os.path.join(gate, "deleted")):
            time.sleep(0.005)
        return data

    endpoint = put(server, "runs-deleted", pre=pre)
    runs = endpoint.submit_many([[[1.0]]] * 8)
    # Any may be the first: four are run at once. To iterate over `runs` would wait for them.
    until(lambda: any(runs[n].refresh().state == "running" for n in range(8)))
    endpoint.delete()
    (folder / "deleted").touch()
    runs.wait(30)
    states = [run.state for run in runs]
    assert states.count("failed") >= 4, states
    assert {run.facts["error"]["code"] for run in runs if run.error} == {"not_found"}


def test_a_termination_and_a_start_lose_no_run(start_server: Start) -> None:
    first = start_server(environment={"PENSTOCK_DRAIN_S": "0.2"})
    keys = first.keys

    def pre(data: Any) -> Any:
        import time

        time.sleep(0.1)
        return data

    endpoint = put(first, pre=pre)
    runs = endpoint.submit_many([[[float(n)]] for n in range(30)])
    assert first.stop() == 0, first.log
    second = start_server(first.data)
    for number in range(30):  # iterating would wait at the server that is gone
        path = f"{second.url}/v1/default/runs/{runs[number].run_id}?wait=30"
        found = httpx2.get(path, headers={"Authorization": keys["predict"]}, timeout=40).json()
        assert (found["state"], found["result"]) == ("succeeded", [[float(number)]]), found


def test_a_run_is_accepted_while_its_deployment_is_starting(start_server: Start) -> None:
    first = start_server()
    keys = first.keys
    put(first)
    first.kill()
    second = start_server(first.data)
    answer = post(f"{second.url}/v1/default/flow/predict?async=true", keys["predict"], json=[[1.0]])
    assert answer.status_code == 202
    path = f"{second.url}{answer.headers['location']}?wait=30"
    found = httpx2.get(path, headers={"Authorization": keys["predict"]}, timeout=40)
    assert json.loads(found.content)["result"] == [[1.0]]


@pytest.mark.parametrize("gateways", [1, 2])
def test_a_webhook_in_the_body_alone_is_enough_while_a_deployment_is_starting(
    start_server: Start, tmp_path: Path, gateways: int
) -> None:
    gate = tmp_path / "gate"
    gate.touch()

    def setup() -> dict[str, Any]:
        import time

        give_up = time.monotonic() + 60
        while not gate.exists() and time.monotonic() < give_up:
            time.sleep(0.005)
        return {}

    first = start_server()
    put(first, setup=setup)
    first.kill()
    gate.unlink()
    second = start_server(first.data, gateways=gateways)
    url, key = f"{second.url}/v1/default/flow/predict", first.keys["predict"]
    hook = "https://hooks.invalid/end"
    envelope = json.dumps({"data": [[1.0]], "webhook_endpoint": hook}).encode()
    as_json = {"Content-Type": "application/json"}
    accepted = [
        post(url, key, content=envelope, headers=as_json),
        post(url, key, content=iter([envelope[:9], envelope[9:]]), headers=as_json),  # chunked
        post(url, key, data={"data": "[[1.0]]", "webhook_endpoint": hook}, files={"f": b""}),
    ]
    assert [answer.status_code for answer in accepted] == [202, 202, 202], accepted
    for sent in ([[1.0]], {"data": [["webhook_endpoint"]]}):
        for content in (json.dumps(sent).encode(), iter([json.dumps(sent).encode()])):
            refused = post(url, key, content=content, headers=as_json)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["error"]["code"] == "not_ready"
    assert post(url, key, json=[[1.0]], headers={"Authorization": "x"}).status_code == 401
    gate.touch()
    for answer in accepted[:2]:
        path = f"{second.url}{answer.headers['location']}?wait=30"
        found = httpx2.get(path, headers={"Authorization": key}, timeout=40).json()
        assert (found["state"], found["result"]) == ("succeeded", [[1.0]])
