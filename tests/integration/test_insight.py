"""What a real server knows of the calls it answered: figures, kept runs, logs, over a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from run_faults import put

from penstock import Endpoint, deploy, model_type
from penstock.core.errors import FunctionFailed, WorkerDied


@pytest.fixture(scope="module")
def talking(server: Any) -> Endpoint:
    """A flow whose functions print and log; a negative number raises."""

    def pre(data: Any) -> Any:
        import logging
        import sys

        print(f"read {len(data)} rows")
        logging.getLogger("mine").warning("first is %s", data[0][0])
        print("to stderr", file=sys.stderr)
        if data[0][0] < 0:
            rows = {"first": data[0][0]}
            return rows["second"]
        return data

    def post(result: Any) -> Any:
        print("two\nlines", end="")
        print(" joined")
        return result

    return put(server, "insight-talks", pre=pre, post=post)


@pytest.fixture
def ask(server: Any) -> Iterator[Callable[..., Any]]:
    with httpx2.Client(base_url=server.url, timeout=30) as http:

        def get(path: str, key: str = "deploy", **params: Any) -> Any:
            headers = {"Authorization": server.keys[key]}
            answer = http.get(f"/v1/default{path}", headers=headers, params=params)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield get


def until(holds: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return found


def run_of(ask: Callable[..., Any], run_id: str) -> Any:
    def found() -> Any:
        runs = ask("/runs", deployment="insight-talks", limit=1000)["runs"]
        return [run for run in runs if run["run_id"] == run_id]

    return until(found)[0]


def test_a_call_that_went_well_is_kept_with_timeline_input_result_and_logs(talking, ask):
    answer = talking.call([[1.0], [2.0]])
    summary = run_of(ask, answer.run_id)
    assert (summary["kind"], summary["state"], summary["points"]) == ("sync", "succeeded", 2)
    found = ask(f"/runs/{answer.run_id}/details")
    names = [part["name"] for part in found["timeline"]]
    assert names == ["queue", "decode", "s1-pre", "s1-model", "s1-post", "encode", "answer"]
    told = {part["name"]: part["ms"] for part in found["timeline"]}
    assert told["s1-pre"] == answer.server_timing["s1-pre"]
    assert sum(told.values()) == pytest.approx(summary["run_time_ms"], abs=0.01)
    assert json.loads(found["input"]["text"]) == [[1.0], [2.0]]
    assert json.loads(found["result"]["text"]) == answer.result
    assert found["prediction_ids"] == answer.prediction_ids

    lines = until(lambda: len(got := ask(f"/runs/{answer.run_id}/logs")["lines"]) == 5 and got)
    said = [(line["stage"], line["function"], line["level"], line["text"]) for line in lines]
    assert sorted(said) == sorted(
        [
            (1, "pre", "print", "read 2 rows"),
            (1, "pre", "WARNING", "first is 1.0"),
            (1, "pre", "stderr", "to stderr"),
            (1, "post", "print", "two"),
            (1, "post", "print", "lines joined"),
        ]
    )


def test_runs_name_the_replica_that_answered_also_after_a_restart(start_server, tmp_path):
    def pre(data: Any) -> Any:
        import os
        import signal

        if data[0] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return [os.getpid()]

    live = start_server(environment={"PENSTOCK_KEEP_SUCCESSES": "all"})
    stage = (model_type.PYTHON, sorted, {"pre": pre})
    key = live.keys["deploy"]
    endpoint = deploy([stage], "named", key, server=live.url, quiet=True, replicas=2)
    answered = [endpoint.call([0]) for _ in range(8)]
    run = endpoint.submit([0])
    with pytest.raises(WorkerDied) as died:
        endpoint.predict(["die"])
    lost_id = died.value.facts["run_id"]
    expected = {answer.run_id: answer.result[0] for answer in answered}
    expected[run.run_id] = run.result(timeout_s=60)[0]

    def replicas(of: Any) -> dict[str, Any]:
        with httpx2.Client(base_url=of.url, timeout=30, headers={"Authorization": key}) as http:
            until(lambda: http.get(f"/v1/default/runs/{lost_id}").is_success)
            views = [http.get(f"/v1/default/runs/{run_id}").json() for run_id in expected]
            lost = http.get(f"/v1/default/runs/{lost_id}").json()
            listed = http.get("/v1/default/runs", params={"limit": 50}).json()["runs"]
        told = {view["run_id"]: view["replica"] for view in [*views, lost]}
        assert told == {found["run_id"]: found["replica"] for found in listed}
        return told

    before = replicas(live)
    assert {run_id: before[run_id]["pid"] for run_id in expected} == expected
    by_pid = {told["pid"]: told["number"] for told in before.values()}
    assert set(by_pid.values()) <= {1, 2}
    assert before[lost_id]["pid"] in by_pid
    live.stop()
    assert replicas(start_server(data=live.data)) == before


def test_a_failed_call_is_kept_with_the_users_line_whoever_called(talking, server, ask):
    stranger = Endpoint(str(talking), server.keys["predict"])
    with pytest.raises(FunctionFailed) as caught:
        stranger.predict([[-1.0]])
    assert caught.value.traceback is None
    assert "values" not in caught.value.facts
    (run,) = until(
        lambda: ask("/runs", state="failed", deployment="insight-talks", code="function_failed")[
            "runs"
        ]
    )
    found = ask(f"/runs/{run['run_id']}/details")
    assert "KeyError" in found["error"]["traceback"]
    assert found["error_place"]["function"] == "pre"
    assert found["error"]["facts"]["values"] == {"rows": "{'first': -1.0}"}
    with pytest.raises(FunctionFailed) as caught:
        talking.predict([[-1.0]])
    assert caught.value.facts["values"] == {"rows": "{'first': -1.0}"}
    assert Path(__file__).read_text().splitlines()[found["error_place"]["line"] - 1].strip() == (
        'return rows["second"]'
    )
    states = {part["name"]: part["state"] for part in found["timeline"]}
    assert states["s1-pre"] == "failed"
    assert states["s1-model"] == states["s1-post"] == "not_reached"


def test_figures_have_calls_errors_and_each_part_of_the_time(talking, ask):
    for number in range(20):
        talking.predict([[float(number)]])
    before = ask("/insight-talks/traffic", range="15m")
    found = until(
        lambda: (t := ask("/insight-talks/traffic", range="15m"))["total"]["calls"] >= 20 and t
    )
    assert before["step_s"] == found["step_s"] == 5
    total = found["total"]
    assert 0 < total["p50_ms"] <= total["p95_ms"] <= total["p99_ms"]
    parts = {part["name"]: part["total_mean_ms"] for part in found["parts"]}
    assert list(parts) == ["queue", "decode", "s1-pre", "s1-model", "s1-post", "encode"]
    assert sum(parts.values()) <= total["mean_ms"]
    assert len(found["start"]) == len(found["calls_per_s"]) == len(found["p99_ms"])
    assert found["switches"][0]["version"] == 1
    (version,) = found["versions"]
    assert version["calls"] == total["calls"]
    row = next(r for r in ask("/traffic")["deployments"] if r["deployment"] == "insight-talks")
    assert row["now"]["calls"] == total["calls"]
    assert sum(row["calls"]) > 0


def test_a_log_can_be_followed(talking, ask):
    last = ask("/insight-talks/logs", limit=1)["last"]
    talking.predict([[77.0]])
    seen = []
    while not any(line["text"] == "first is 77.0" for line in seen):
        got = ask("/insight-talks/logs", after=last, wait=10)
        assert got["lines"]
        last, seen = got["last"], seen + got["lines"]
