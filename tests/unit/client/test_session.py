"""The client's way to the server: tries, errors, events, and the key kept out of sight."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from penstock.client.config import Target
from penstock.client.session import Session, session_for
from penstock.codec.request import encode_request
from penstock.core.errors import (
    DeadlineExceeded,
    FunctionFailed,
    PenstockError,
    RateLimited,
    ServerUnreachable,
    UnexpectedAnswer,
)

SERVER = "http://penstock.test:8700"
KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"

Handler = Callable[[httpx2.Request], httpx2.Response]


def session_with(handler: Handler) -> Session:
    return Session(Target(SERVER, KEY), httpx2.MockTransport(handler))


def failing(times: int, error: Exception) -> tuple[Handler, list[bytes]]:
    seen: list[bytes] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.content)
        if len(seen) <= times:
            raise error
        return httpx2.Response(200, json={"fine": True})

    return handle, seen


@pytest.fixture
def refused() -> Iterator[str]:
    """An address of this machine where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_the_key_travels_in_the_authorization_header() -> None:
    seen = []
    session = session_with(lambda r: seen.append(r.headers) or httpx2.Response(200, json={}))
    session.get("/v1/whoami")
    assert seen[0]["Authorization"] == KEY


def test_a_get_is_tried_three_times() -> None:
    handle, seen = failing(2, httpx2.ReadError("reset"))
    assert session_with(handle).get("/x") == {"fine": True}
    assert len(seen) == 3


def test_a_put_is_sent_again_from_its_start() -> None:
    handle, seen = failing(2, httpx2.WriteError("reset"))
    session_with(handle).put("/x", lambda: iter([b"ab", b"cd"]), 4)
    assert seen == [b"abcd"] * 3


def limited(times: int, wait_s: float) -> tuple[Handler, list[str]]:
    """A server that says so often that its key makes too many requests."""
    seen: list[str] = []
    told = {"code": "rate_limited", "message": "Too many.", "facts": {"retry_after_s": wait_s}}

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(f"{request.method} {request.content.decode()}")
        if len(seen) <= times:
            return httpx2.Response(429, json={"error": told})
        return httpx2.Response(200, json={"fine": True})

    return handle, seen


@pytest.mark.parametrize(
    ("ask", "sent"),
    [
        (lambda session: session.get("/x"), "GET "),
        (lambda session: session.post("/x", {"a": 1}), 'POST {"a":1}'),
        (lambda session: session.patch("/x", {"a": 1}), 'PATCH {"a":1}'),
        (lambda session: session.delete("/x"), "DELETE "),
        (lambda session: session.put("/x", lambda: iter([b"ab", b"cd"]), 4), "PUT abcd"),
        (lambda session: session.fetch("/x", bytes), "GET "),
        (lambda session: session.events("/x", {}).__enter__(), "POST {}"),
    ],
    ids=["get", "post", "patch", "delete", "put", "fetch", "events"],
)
def test_a_request_of_a_key_that_makes_too_many_waits_for_its_turn(
    ask: Callable[[Session], Any], sent: str
) -> None:
    handle, seen = limited(2, 0.001)
    ask(session_with(handle))
    assert seen == [sent] * 3


def test_a_turn_that_is_too_far_away_is_not_waited_for() -> None:
    handle, seen = limited(1, 3600.0)
    with pytest.raises(RateLimited, match="Too many"):
        session_with(handle).post("/x", {})
    assert len(seen) == 1


def test_after_three_tries_the_error_says_what_broke() -> None:
    handle, seen = failing(9, httpx2.ReadError("reset by peer"))
    with pytest.raises(ServerUnreachable, match=r"broke.*reset by peer"):
        session_with(handle).get("/x")
    assert len(seen) == 3


@pytest.mark.parametrize(
    "send",
    [
        lambda session: session.post("/x"),
        lambda session: session.delete("/x"),
        lambda session: session.call("/x", encode_request([1]), None),
    ],
    ids=["post", "delete", "call"],
)
def test_what_is_not_safe_to_repeat_is_tried_once(send: Callable[[Session], Any]) -> None:
    handle, seen = failing(1, httpx2.ReadError("reset"))
    with pytest.raises(ServerUnreachable):
        send(session_with(handle))
    assert len(seen) == 1


def test_no_server_says_how_to_start_one(refused: str) -> None:
    session = Session(Target(refused, KEY))
    with pytest.raises(ServerUnreachable) as caught:
        session.get("/v1/whoami")
    session.close()
    for part in (refused, "`penstock serve`", "`penstock.start()`"):
        assert part in str(caught.value)


def test_no_answer_in_time_says_the_limit() -> None:
    handle, _seen = failing(9, httpx2.ReadTimeout("slow"))
    with pytest.raises(DeadlineExceeded, match=r"within 2.5 s.*timeout_s"):
        session_with(handle).call("/x", encode_request([1]), 2.5)


def test_an_error_answer_is_raised_as_the_error_it_describes(table: Any) -> None:
    error = FunctionFailed("post of stage 2 raised.", stage=2, function="post", type="KeyError")
    body = {"error": error.to_dict(), "run_id": "r-1"}
    table.on("GET /x", body, 500, Retry_After="3")
    with pytest.raises(FunctionFailed) as caught:
        session_for(Target(SERVER, KEY)).get("/x")
    found = caught.value
    assert (found.stage, found.function, found.type) == (2, "post", "KeyError")
    assert found.facts == {"status": 500, "run_id": "r-1", "retry_after_s": "3"}


def test_an_error_of_a_newer_server_is_still_an_error_of_ours(table: Any) -> None:
    table.on("GET /x", {"error": {"code": "brand_new", "message": "Odd."}}, 418)
    with pytest.raises(PenstockError, match="Odd"):
        session_for(Target(SERVER, KEY)).get("/x")


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway", b"[]", b'{"error": 5}', b'{"error": {"facts": {"stage": 1}}}']
)
def test_an_answer_that_is_not_ours_shows_its_start(table: Any, body: bytes) -> None:
    table.on("GET /x", body, 502)
    with pytest.raises(UnexpectedAnswer) as caught:
        session_for(Target(SERVER, KEY)).get("/x")
    assert body.decode() in str(caught.value)
    assert caught.value.facts["status"] == 502


def test_a_good_answer_that_is_not_json_is_refused(table: Any) -> None:
    table.on("GET /x", b"hello")
    with pytest.raises(UnexpectedAnswer, match="hello"):
        session_for(Target(SERVER, KEY)).get("/x")


def test_a_redirect_is_not_followed_and_names_the_place(table: Any) -> None:
    table.on("GET /x", b"", 308, Location="https://elsewhere/x")
    with pytest.raises(UnexpectedAnswer, match=r"https://elsewhere/x.*server="):
        session_for(Target(SERVER, KEY)).get("/x")
    assert len(table.asked) == 1


def test_events_come_one_by_one_and_empty_lines_are_skipped(table: Any) -> None:
    table.on("POST /x", '{"a":1}\n\n{"b":"one\u2028two"}\n{"c":3}'.encode())
    with session_for(Target(SERVER, KEY)).events("/x", {}) as events:
        assert list(events) == [{"a": 1}, {"b": "one\u2028two"}, {"c": 3}]


def test_events_arrive_while_the_answer_is_still_being_written() -> None:
    release: list[bool] = []

    class Slow(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b'{"n":1}\n{"n'
            assert release
            yield b'":2}\n'

    session = session_with(lambda _request: httpx2.Response(200, stream=Slow()))
    with session.events("/x", {}) as events:
        assert next(events) == {"n": 1}
        release.append(True)
        assert next(events) == {"n": 2}


def test_an_event_that_is_not_json_is_refused(table: Any) -> None:
    table.on("POST /x", b"oops\n")
    with (
        pytest.raises(UnexpectedAnswer, match="oops"),
        session_for(Target(SERVER, KEY)).events("/x", {}) as events,
    ):
        list(events)


def test_a_refusal_before_the_first_event_is_raised(table: Any) -> None:
    table.on("POST /x", {"error": {"code": "forbidden", "message": "No."}}, 403)
    with (
        pytest.raises(PenstockError, match="No"),
        session_for(Target(SERVER, KEY)).events("/x", {}) as events,
    ):
        list(events)


def test_the_key_is_in_no_error_and_no_text_form(table: Any) -> None:
    table.on("GET /x", b"nonsense", 500)
    session = session_for(Target(SERVER, KEY))
    with pytest.raises(UnexpectedAnswer) as caught:
        session.get("/x")
    error = caught.value
    texts = [str(error), repr(error), repr(session), json.dumps(error.to_dict())]
    assert not any(KEY in text for text in texts)
    assert error.__cause__ is None


def test_calls_to_one_server_share_a_session_and_a_forked_child_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.client.session._sessions", {})
    target = Target("http://127.0.0.1:1", KEY)
    first = session_for(target)
    assert session_for(target) is first
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    second = session_for(target)
    assert second is not first
    first.close()
    second.close()


ENDING = """
import sys
from penstock.client.config import Target
from penstock.client.session import session_for
print(session_for(Target(*sys.argv[1:])).get("/x"))
"""


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers every GET and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def test_a_program_that_ends_leaves_no_connection_open() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{served.server_port}"
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDING, address, KEY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        served.shutdown()
        thread.join()
    assert (done.stdout, done.stderr) == ("{}\n", "")
