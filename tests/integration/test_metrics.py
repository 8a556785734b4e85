"""`/metrics` of a real server, read by Prometheus' own parser; with several gateways, too."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from run_faults import put

from penstock import Endpoint
from penstock.core.errors import FunctionFailed

ROOT = Path(__file__).parents[2]


def pre(data: Any) -> Any:
    if data[0][0] < 0:
        raise ValueError("below zero")
    return data


def metrics(server: Any, key: str | None = "admin") -> dict[str, Any]:
    headers = {"Authorization": server.keys[key]} if key else {}
    answer = httpx2.get(f"{server.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(family: Any, suffix: str = "", **labels: str) -> dict[Any, float]:
    """The samples of a family with these labels, by their other labels."""
    found = {}
    for sample in family.samples:
        if sample.name == family.name + suffix and labels.items() <= sample.labels.items():
            rest = tuple(sorted(set(sample.labels.items()) - set(labels.items())))
            found[rest] = sample.value
    return found


@pytest.fixture(scope="module")
def called(server: Any) -> Endpoint:
    endpoint = put(server, "metrics-flow", pre=pre)
    for number in range(30):
        endpoint.predict([[float(number)]])
    with pytest.raises(FunctionFailed):
        endpoint.predict([[-1.0]])
    return endpoint


def test_calls_are_counted_by_version_and_code_with_their_times(server, called):
    found = metrics(server)
    of = {"project": "default", "deployment": "metrics-flow", "version": "1"}
    calls = values(found["penstock_calls"], "_total", **of)
    assert calls == {(("code", "ok"),): 30, (("code", "function_failed"),): 1}
    duration = found["penstock_call_duration_seconds"]
    assert values(duration, "_count", **of) == {(): 31}
    buckets = values(duration, "_bucket", **of)
    ordered = sorted((float(dict(k)["le"]), v) for k, v in buckets.items())
    assert [v for _, v in ordered] == sorted(v for _, v in ordered)
    assert ordered[-1] == (float("inf"), 31)


def test_each_part_of_each_stage_has_a_histogram(server, called):
    of = {"deployment": "metrics-flow", "version": "1", "project": "default", "branch": ""}
    counts = values(metrics(server)["penstock_part_duration_seconds"], "_count", **of)
    parts = {(dict(k)["stage"], dict(k)["part"]): v for k, v in counts.items()}
    assert parts == {
        ("0", "queue"): 31,
        ("0", "decode"): 31,
        ("1", "pre"): 31,
        ("1", "model"): 30,
        ("0", "encode"): 30,
    }


def test_replicas_and_the_process_tell_how_they_fare(server, called):
    found = metrics(server)
    ready = values(found["penstock_replicas"], deployment="metrics-flow", state="ready")
    assert sum(ready.values()) >= 1
    assert next(iter(found["process_resident_memory_bytes"].samples)).value > 1e6
    assert found["penstock_loop_lag_seconds"].samples


def test_metrics_need_a_key_that_may_read_unless_they_are_open(server, start_server):
    assert httpx2.get(f"{server.url}/metrics").status_code == 401
    key = {"Authorization": server.keys["predict"]}
    assert httpx2.get(f"{server.url}/metrics", headers=key).status_code == 403
    opened = start_server(environment={"PENSTOCK_METRICS": "open"})
    assert "penstock_info" in metrics(opened, key=None)


def test_a_key_of_a_project_sees_that_project_only(start_server):
    server = start_server()  # with a second project, admin keys of other tests would have to choose
    endpoint = put(server, "metrics-flow", pre=pre)
    httpx2.post(
        str(endpoint), json=[[1.0]], headers={"Authorization": server.keys["deploy"]}
    ).raise_for_status()
    give_up = time.monotonic() + 60
    while not values(metrics(server)["penstock_calls"], "_total", deployment="metrics-flow"):
        assert time.monotonic() < give_up
    admin = {"Authorization": server.keys["admin"]}
    project = {"name": "metrics-other"}
    assert httpx2.post(f"{server.url}/v1/projects", headers=admin, json=project).is_success
    path = f"{server.url}/v1/metrics-other/keys"
    made = httpx2.post(path, headers=admin, json={"scope": "read", "label": "prometheus"})
    assert made.is_success, made.text
    text = made.json()["key"]
    answer = httpx2.get(f"{server.url}/metrics", headers={"Authorization": text})
    assert answer.status_code == 200
    assert "metrics-flow" not in answer.text
    assert "penstock_info" in answer.text


def test_several_gateways_are_counted_together(start_server):
    server = start_server(gateways=3)
    endpoint = put(server, "many", pre=pre)
    headers = {"Authorization": server.keys["deploy"]}
    for _ in range(40):  # a new connection each time, so that all gateways get some
        assert httpx2.post(str(endpoint), json=[[1.0]], headers=headers).status_code == 200
        assert httpx2.post(str(endpoint), json=[[1.0]]).status_code == 401
    give_up = time.monotonic() + 60
    while True:
        found = metrics(server)
        calls = sum(values(found["penstock_calls"], "_total", deployment="many").values())
        refused = values(found["penstock_requests_refused"], "_total", code="unauthorized")
        if (calls, sum(refused.values())) == (40, 40):
            break
        assert time.monotonic() < give_up, (calls, refused)
        time.sleep(0.1)


def test_the_grafana_board_asks_only_for_metrics_that_there_are(server, called):
    board = json.loads((ROOT / "docs" / "grafana" / "penstock.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for name in names_in(target["expr"])
    }
    assert len(asked) > 8
    told = {sample.name for family in metrics(server).values() for sample in family.samples}
    optional = {"penstock_requests_refused_total", "penstock_joined_rows_bucket"}
    assert asked - told <= optional | {"penstock_joined_rows_sum", "penstock_joined_rows_count"}


def names_in(expression: str) -> set[str]:
    import re

    return set(re.findall(r"\b(?:penstock|process)_[a-z_]+", expression))
