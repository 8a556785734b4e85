"""`kill -9` around a change: nothing is changed that the audit log does not have."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

Start = Callable[..., Any]


def change(live: Any, keys: dict[str, str]) -> None:
    with contextlib.suppress(httpx2.TransportError):
        httpx2.put(
            f"{live.url}/v1/default/secrets/TOKEN",
            json={"value": "v"}, headers={"Authorization": keys["deploy"]},
        )  # fmt: skip


def ask(live: Any, keys: dict[str, str], what: str) -> Any:
    answer = httpx2.get(f"{live.url}/v1/default/{what}", headers={"Authorization": keys["deploy"]})
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(("place", "done"), [("audit.begun", False), ("audit.changed", True)])
def test_a_server_killed_around_a_change_has_it_in_the_audit_log(
    start_server: Start, place: str, done: bool
) -> None:
    first = start_server(None, {"PENSTOCK_FAULTS": f"{place}=kill"})
    keys = first.keys
    change(first, keys)
    assert first.wait() == -9
    live = start_server(first.data)
    secrets = [s["name"] for s in ask(live, keys, "secrets")["secrets"]]
    assert secrets == (["TOKEN"] if done else [])
    [entry] = ask(live, keys, "audit")["entries"]
    assert (entry["action"], entry["target"]) == ("set_secret", "default/secrets/TOKEN")
    assert entry["status"] == 0
    assert entry["actor"] == keys["deploy"][:13]
    change(live, keys)
    statuses = [e["status"] for e in ask(live, keys, "audit")["entries"]]
    assert statuses == [200 if done else 201, 0]


def test_what_cannot_be_written_down_is_not_done(start_server: Start) -> None:
    first = start_server(None, {})
    keys = first.keys
    first.stop()
    with contextlib.closing(sqlite3.connect(first.data / "records.sqlite")) as records, records:
        records.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    live = start_server(first.data)
    answer = httpx2.put(
        f"{live.url}/v1/default/secrets/TOKEN",
        json={"value": "v"}, headers={"Authorization": keys["deploy"]},
    )  # fmt: skip
    assert answer.status_code >= 400
    assert ask(live, keys, "secrets")["secrets"] == []
