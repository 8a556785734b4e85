"""Versions that start failing once they serve: withdrawn in their first minutes, or quarantined."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from open_loop import Background, Outcome
from versioned import numbered, put, same_model

from penstock import model_type

RATE = 50.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return same_model(tmp_path_factory.mktemp("model"))


def with_post(model: Path, post: Callable[[Any], Any]) -> list[Any]:
    return [(model_type.SKLEARN_PREPROCESSOR, model, {"post": post})]


def dies(model: Path) -> list[Any]:
    def post(result: Any) -> Any:
        import os

        os._exit(3)

    return with_post(model, post)


def raises(model: Path) -> list[Any]:
    def post(result: Any) -> Any:
        raise KeyError("label")

    return with_post(model, post)


def hangs(model: Path) -> list[Any]:
    def post(result: Any) -> Any:
        import time

        time.sleep(600)

    return with_post(model, post)


def show(server: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(
        f"{server.url}/v1/default/{name}", headers={"Authorization": server.keys["deploy"]}
    ).json()
    return found


def wait_until(holds: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def under_load(server: Any, model: Path, name: str, bad: list[Any], **options: Any) -> Outcome:
    """Deploy a good version and then `bad`; return what callers saw until the good one was back."""
    endpoint = str(put(server, numbered(model, 1), name))
    with Background(endpoint, server.keys["predict"], RATE) as outcome:
        put(server, bad, name, **options)
        wait_until(lambda: show(server, name)["active"] == 1)
        back = len(outcome.samples)
        wait_until(lambda: len(outcome.samples) > back + 20)
    return outcome


def withdrawn(server: Any, name: str) -> dict[str, Any]:
    newest: dict[str, Any] = show(server, name)["versions"][0]
    assert newest["state"] == "withdrawn"
    assert newest["failure"]["code"] == "version_withdrawn"
    assert newest["failure"]["facts"]["returned_to"] == 1
    return newest


def test_a_new_version_whose_workers_keep_dying_is_withdrawn(server: Any, model: Path) -> None:
    outcome = under_load(server, model, "dying", dies(model))
    # Calls inside a dying worker are lost; those that waited were answered by the version before.
    assert set(outcome.statuses()) == {200, 502}, outcome.statuses()
    assert "died" in withdrawn(server, "dying")["failure"]["message"]
    last_bad = max(s.due + s.took_s for s in outcome.failed)
    print(f"\nback {last_bad - outcome.failed[0].due:.1f} s after the first death")
    assert show(server, "dying")["state"] == "active"


def test_a_new_version_that_fails_every_call_is_withdrawn(server: Any, model: Path) -> None:
    outcome = under_load(server, model, "raising", raises(model))
    assert set(outcome.statuses()) == {200, 500}
    assert "all of its last" in withdrawn(server, "raising")["failure"]["message"]


def test_a_new_version_that_hangs_is_withdrawn(server: Any, model: Path) -> None:
    outcome = under_load(server, model, "hanging", hangs(model), timeout_s=0.5)
    assert set(outcome.statuses()) <= {200, 502, 504}
    withdrawn(server, "hanging")


def test_a_withdrawn_version_can_be_activated_by_hand(server: Any, model: Path) -> None:
    under_load(server, model, "again", raises(model))
    answer = httpx2.post(
        f"{server.url}/v1/default/again/versions/2/activate",
        headers={"Authorization": server.keys["deploy"]},
    )
    assert answer.status_code == 200, answer.text
    found = show(server, "again")
    assert (found["active"], found["versions"][0]["state"]) == (2, "ready")


def talkative(model: Path) -> list[Any]:
    """Prints 300 lines at each call, and dies."""

    def post(result: Any) -> Any:
        import os

        for number in range(300):
            print(f"word {number}")
        os._exit(3)

    return with_post(model, post)


def test_a_version_that_may_not_be_withdrawn_is_quarantined(server: Any, model: Path) -> None:
    put(server, numbered(model, 1), "kept")
    endpoint = str(put(server, talkative(model), "kept", auto_rollback=False))
    headers = {"Authorization": server.keys["predict"]}

    def call() -> int:
        return httpx2.post(endpoint, json=[[1.0]], headers=headers, timeout=30).status_code

    wait_until(lambda: call() == 503)
    found = show(server, "kept")
    assert found["active"] == 2
    assert found["state"] == "starting"
    assert found["quarantine"]["deaths"] >= 3
    assert found["quarantine"]["next_start_at"] > 0
    assert "exit code 3" in found["quarantine"]["reason"]

    def last_said() -> list[str]:
        path = "/v1/default/kept/logs?version=2&limit=200"
        key = {"Authorization": server.keys["deploy"]}
        lines = httpx2.get(server.url + path, headers=key).json()["lines"]
        return [line["text"] for line in lines]

    # The log is written a moment later.
    wait_until(lambda: [f"word {n}" for n in range(100, 300)] == last_said())


def test_mistakes_of_callers_do_not_withdraw_a_version(server: Any, model: Path) -> None:
    bare = [(model_type.SKLEARN_PREPROCESSOR, model)]
    put(server, bare, "blameless")
    endpoint = str(put(server, bare, "blameless"))
    headers = {"Authorization": server.keys["predict"]}
    with httpx2.Client(headers=headers) as http:
        statuses = {http.post(endpoint, json=[[1.0, 2.0, 3.0]]).status_code for _ in range(40)}
    assert statuses == {422}
    assert show(server, "blameless")["active"] == 2


def test_a_new_version_that_fails_after_the_server_was_killed_is_withdrawn_too(
    start_server: Any, model: Path
) -> None:
    first = start_server()
    endpoint = str(put(first, numbered(model, 1), "killed"))
    put(first, raises(model), "killed")
    path = endpoint.removeprefix(first.url)
    first.kill()
    server = start_server(first.data)
    headers = {"Authorization": first.keys["deploy"]}

    def answered() -> bool:
        found = httpx2.post(server.url + path, json=[[1.0]], headers=headers, timeout=10)
        assert found.status_code in {200, 500, 503}, found.text
        return found.status_code == 200

    wait_until(answered)
    shown = httpx2.get(f"{server.url}/v1/default/killed", headers=headers).json()
    assert shown["active"] == 1
    assert shown["versions"][0]["state"] == "withdrawn"
