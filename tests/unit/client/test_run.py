"""`Run`: submitting safely, waiting, results and errors as the server told them."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import httpx2
import pytest

from penstock.client.endpoint import Endpoint
from penstock.client.run import Run, Runs, wait_all
from penstock.core.errors import (
    Conflict,
    DeadlineExceeded,
    FunctionFailed,
    NotFound,
    PenstockError,
    ServerUnreachable,
    UnexpectedAnswer,
)

KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"
URL = "http://penstock.test:8700/v1/p/flow/predict"
SUBMIT = "POST /v1/p/flow/predict"
ACCEPTED = {"run_id": "r-1", "state": "queued", "message": "…"}


def told(state: str, run_id: str = "r-1", **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "state": state, "created_at": 1.0, **more}


def submitted(table: Any, *answers: dict[str, Any], **arguments: Any) -> Run:
    left = list(answers)
    table.on(SUBMIT, ACCEPTED, 202)
    table.on("GET /v1/p/runs/r-1", lambda _request: httpx2.Response(200, json=left.pop(0)))
    return Endpoint(URL, KEY).submit([[1]], **arguments)


def test_a_submit_asks_for_a_run_with_a_key_of_its_own(table: Any) -> None:
    run = submitted(table, priority=2, timeout_s=9.5)
    assert (run.run_id, run.state, run.done) == ("r-1", "queued", False)
    (asked,) = table.asked
    assert dict(asked.url.params) == {"async": "true", "priority": "2", "timeout_s": "9.5"}
    assert asked.content == b"[[1]]"
    first = asked.headers["Idempotency-Key"]
    submitted(table)
    assert table.asked[1].headers["Idempotency-Key"] not in {"", first}
    assert dict(table.asked[1].url.params) == {"async": "true"}
    assert KEY not in repr(run)


def test_a_webhook_travels_in_the_envelope(table: Any) -> None:
    submitted(table, webhook="https://a.example/x", parameters={"a": 1}, idempotency_key="mine")
    assert json.loads(table.asked[0].content) == {
        "data": [[1]],
        "parameters": {"a": 1},
        "webhook_endpoint": "https://a.example/x",
    }
    assert table.asked[0].headers["Idempotency-Key"] == "mine"


def test_a_broken_connection_is_tried_again_under_the_same_key(table: Any) -> None:
    breaks = [httpx2.ConnectError("no"), httpx2.ReadError("cut off")]

    def answer(_request: httpx2.Request) -> httpx2.Response:
        if breaks:
            raise breaks.pop()
        return httpx2.Response(202, json=ACCEPTED)

    table.on(SUBMIT, answer)
    assert Endpoint(URL, KEY).submit([1]).run_id == "r-1"
    keys = {asked.headers["Idempotency-Key"] for asked in table.asked}
    assert (len(table.asked), len(keys)) == (3, 1)


def test_a_server_that_stays_away_is_an_error(table: Any) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no")

    table.on(SUBMIT, answer)
    with pytest.raises(ServerUnreachable):
        Endpoint(URL, KEY).submit([1])


def test_refusals_of_a_submit_are_raised(table: Any) -> None:
    table.on(SUBMIT, {"error": {"code": "conflict", "message": "used"}, "run_id": "x"}, 409)
    with pytest.raises(Conflict, match="used"):
        Endpoint(URL, KEY).submit([1], idempotency_key="a")
    table.on(SUBMIT, {"result": [1]})
    with pytest.raises(UnexpectedAnswer, match="has no run"):
        Endpoint(URL, KEY).submit([1])


def test_waiting_asks_until_the_end_and_result_returns_it(table: Any) -> None:
    run = submitted(table, told("queued"), told("running"), told("succeeded", result=[7]))
    assert run.result() == [7]
    waits = [float(asked.url.params["wait"]) for asked in table.asked[1:]]
    assert waits == [30.0, 30.0, 30.0]
    assert run.result() == [7]
    assert len(table.asked) == 4


@pytest.mark.parametrize(("status", "code"), [(503, "store_unavailable"), (429, "rate_limited")])
def test_a_wait_bears_what_passes(
    table: Any, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(table)
    away = httpx2.Response(status, json={"error": {"code": code, "message": "not now"}})
    answers = [away, away, httpx2.Response(200, json=told("succeeded", result=[7]))]
    table.on("GET /v1/p/runs/r-1", lambda _request: answers.pop(0))
    assert run.result() == [7]
    monkeypatch.setattr("penstock.client.run.GONE_S", 0.0)
    monkeypatch.setattr("penstock.client.session.TURN_S", 0.0)
    stays_away = submitted(table)
    table.on("GET /v1/p/runs/r-1", lambda _request: away)
    with pytest.raises(PenstockError, match="not now"):
        stays_away.wait()


def test_a_failed_run_raises_its_own_error(table: Any) -> None:
    error = {"code": "function_failed", "message": "pre raised.", "stage": 1, "function": "pre"}
    run = submitted(table, told("failed", error=error))
    with pytest.raises(FunctionFailed, match="pre raised") as caught:
        run.result()
    assert (caught.value.stage, caught.value.facts["run_id"]) == (1, "r-1")
    assert isinstance(run.error, FunctionFailed)


def test_a_cancelled_run_has_no_result(table: Any) -> None:
    run = submitted(table)
    table.on("POST /v1/p/runs/r-1/cancel", told("cancelled"))
    assert run.cancel().state == "cancelled"
    with pytest.raises(Conflict, match="was cancelled"):
        run.result()


def test_a_wait_has_a_limit_and_the_run_goes_on(table: Any) -> None:
    run = submitted(table, told("running"))
    with pytest.raises(DeadlineExceeded, match="is running after 0 s"):
        run.wait(0)


def test_a_run_that_was_at_its_end_when_submitted_is_asked_for_its_result(table: Any) -> None:
    table.on(SUBMIT, {**ACCEPTED, "state": "succeeded"})
    table.on("GET /v1/p/runs/r-1", told("succeeded", result=[3]))
    assert Endpoint(URL, KEY).submit([1], idempotency_key="a").result() == [3]


def many(table: Any, count: int) -> Runs:
    def answer(request: httpx2.Request) -> httpx2.Response:
        number = json.loads(request.content)
        return httpx2.Response(202, json={**ACCEPTED, "run_id": f"r-{number}"})

    table.on(SUBMIT, answer)
    for number in range(count):
        end = told("succeeded", f"r-{number}", result=[number])
        table.on(f"GET /v1/p/runs/r-{number}", end)
    return Endpoint(URL, KEY).submit_many(range(count))


def test_many_runs_keep_the_order_of_their_data(table: Any) -> None:
    runs = many(table, 12)
    assert len(runs) == 12
    assert [run.facts["result"] for run in runs] == [[n] for n in range(12)]
    assert runs.results() == [[n] for n in range(12)]
    assert [run.run_id for run in runs[2:4]] == ["r-2", "r-3"]
    assert repr(runs) == "Runs(12 runs, 12 at their end)"


def test_a_bar_counts_the_runs_that_ended_also_within_another(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    runs = many(table, 3)
    assert "submitted" in out.getvalue()
    assert "3/3" in out.getvalue()
    out.truncate(0)
    assert [a.run_id == b.run_id for a, b in zip(runs, runs, strict=True)] == [True] * 3
    assert "runs" in out.getvalue()
    assert "3/3" in out.getvalue()


def test_many_wait_while_the_server_takes_no_more(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.client.submit.LONGEST_PAUSE_S", 0.001)
    refusals = [("overloaded", "5"), ("rate_limited", "1"), ("overloaded", "5")]

    def answer(request: httpx2.Request) -> httpx2.Response:
        if refusals:
            code, seconds = refusals.pop()
            body = {"error": {"code": code, "message": "not now"}}
            return httpx2.Response(429, json=body, headers={"Retry-After": seconds})
        return httpx2.Response(202, json={**ACCEPTED, "run_id": f"r-{request.content.decode()}"})

    table.on(SUBMIT, answer)
    runs = Endpoint(URL, KEY).submit_many(range(5))
    assert [runs[n].run_id for n in range(len(runs))] == [f"r-{n}" for n in range(5)]
    assert (len(table.asked), refusals) == (8, [])


def test_nobody_waits_for_a_turn_after_an_error(table: Any) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.content == b"0":
            return httpx2.Response(409, json={"error": {"code": "conflict", "message": "used"}})
        body = {"error": {"code": "overloaded", "message": "not now"}}
        return httpx2.Response(429, json=body, headers={"Retry-After": "3600"})

    table.on(SUBMIT, answer)
    with pytest.raises(Conflict, match="used"):
        Endpoint(URL, KEY).submit_many(range(5))


def test_all_of_a_list_are_waited_for(table: Any) -> None:
    runs = many(table, 5)
    assert all(run.done for run in wait_all(runs[number] for number in range(5)))
    assert wait_all([]) == []


class Elsewhere:
    """A run whose end comes when a test says so, or never was."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.done, self.asked = error, False, threading.Event()
        self.ended = threading.Event()

    def wait(self, timeout_s: float | None = None) -> None:
        self.asked.set()
        if self.error is not None:
            raise self.error
        if not self.ended.wait(timeout_s):
            raise DeadlineExceeded("Not yet.")


def test_a_run_that_is_forgotten_is_told_at_once_and_not_after_all_the_others_ended():
    lasting = Elsewhere()
    gone = Elsewhere(NotFound("There is no such run."))
    told: list[Exception] = []

    def wait() -> None:
        try:
            wait_all([lasting, gone])  # type: ignore[list-item]
        except NotFound as error:
            told.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        assert lasting.asked.wait(10)
        waiting.join(10)
        assert told
    finally:
        lasting.ended.set()
        waiting.join(60)
