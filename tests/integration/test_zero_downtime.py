"""Versions change under load and no request notices: 0 failures, no answer of two versions.

The load is open-loop: 100 requests a second, each due at its own time. `-s` shows how long a
redeploy, a rollback and a refusal take.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from open_loop import Background, Outcome
from versioned import BROKEN, numbered, put, same_model

from penstock.core.errors import PenstockError

RATE = 100.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return same_model(tmp_path_factory.mktemp("model"))


def activate(server: Any, name: str, number: int) -> None:
    answer = httpx2.post(
        f"{server.url}/v1/default/{name}/versions/{number}/activate",
        headers={"Authorization": server.keys["deploy"]},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text


def active(server: Any, name: str) -> int:
    answer = httpx2.get(
        f"{server.url}/v1/default/{name}", headers={"Authorization": server.keys["deploy"]}
    )
    number: int = answer.json()["active"]
    return number


def seen_in(outcome: Outcome) -> list[list[int]]:
    """Return the version numbers that the functions of each call noted, in order of arrival."""
    return [json.loads(sample.body)["result"]["seen"] for sample in outcome.samples]


def wait_for_answer_of(number: int, outcome: Outcome) -> None:
    """Return once an answer that came after this call is of the version `number`."""
    deadline = time.monotonic() + 60
    done = len(outcome.samples)
    while True:
        assert time.monotonic() < deadline
        for sample in outcome.samples[done:]:
            if f'"seen":[{number},'.encode() in sample.body:
                return
        time.sleep(0.005)


def report(what: str, outcome: Outcome, **changes: list[float]) -> None:
    took = "; ".join(
        f"{len(seconds)} {kind}, {1e3 * statistics.median(seconds):.0f} ms (median), "
        f"{1e3 * max(seconds):.0f} ms at most"
        for kind, seconds in changes.items()
    )
    print(
        f"\n{what}: {took}; {len(outcome.samples)} requests, {len(outcome.failed)} failed, "
        f"p50 {1e3 * outcome.percentile(0.5):.1f} ms, p99 {1e3 * outcome.percentile(0.99):.1f} ms"
    )


def timed(change: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    change()
    return time.perf_counter() - begun


def change_versions(server: Any, model: Path, name: str, rounds: int) -> None:
    """Redeploy and roll back in turn, `rounds` times each, under load."""
    endpoint = str(put(server, numbered(model, 1), name))
    deploys, rollbacks = [], []
    with Background(endpoint, server.keys["predict"], RATE) as outcome:
        newest = 1
        for done in range(rounds):
            newest += 1
            flow = numbered(model, newest)
            deploys.append(timed(lambda flow=flow: put(server, flow, name)))
            wait_for_answer_of(newest, outcome)
            rollbacks.append(timed(lambda number=newest - 1: activate(server, name, number)))
            wait_for_answer_of(newest - 1, outcome)
            print(f"\r{name}: {done + 1}/{rounds} redeploys and rollbacks", end="", flush=True)
    report(name, outcome, redeploys=deploys, rollbacks=rollbacks)
    assert outcome.failed == []
    seen = seen_in(outcome)
    assert [s for s in seen if len(set(s)) != 1 or len(s) != 4] == []
    # Each version answered while it was the active one, so the switches were real.
    assert {s[0] for s in seen} == set(range(1, newest + 1))


def deploy_broken_versions(server: Any, model: Path, folder: Path, name: str, count: int) -> None:
    """Deploy broken versions in turn under load; every one is refused and nobody notices."""
    endpoint = str(put(server, numbered(model, 1), name))
    changes = []
    with Background(endpoint, server.keys["predict"], RATE) as outcome:
        for number, kind in zip(range(count), itertools.cycle(BROKEN), strict=False):
            make, said = BROKEN[kind]
            begun = time.perf_counter()
            with pytest.raises(PenstockError, match=said):
                put(server, make(model, folder, number), name, example=[[1.0]])
            changes.append(time.perf_counter() - begun)
            assert active(server, name) == 1
            print(f"\r{name}: {number + 1}/{count} broken versions", end="", flush=True)
    report(name, outcome, refusals=changes)
    assert outcome.failed == []
    assert {tuple(s) for s in seen_in(outcome)} == {(1, 1, 1, 1)}


def test_fifty_redeploys_and_fifty_rollbacks_under_load_fail_no_request(
    server: Any, model: Path
) -> None:
    change_versions(server, model, "changes", rounds=50)


def test_thirty_broken_versions_under_load_fail_no_request(
    server: Any, model: Path, tmp_path: Path
) -> None:
    deploy_broken_versions(server, model, tmp_path, "broken-changes", count=30)
