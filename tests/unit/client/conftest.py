"""A server that answers from a table, carried by httpx2's own mock transport."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock.client import session as session_module
from penstock.client.config import Target, set_process_default
from penstock.client.session import Session

SERVER = "http://penstock.test:8700"
KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"

Handler = Callable[[httpx2.Request], httpx2.Response]


class TableServer:
    """Answers each `METHOD /path` with what was set for it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.asked: list[httpx2.Request] = []

    def on(self, route: str, answer: Any, status: int = 200, **headers: str) -> None:
        if callable(answer):
            self.answers[route] = answer
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.answers[route] = lambda _request: httpx2.Response(
            status, content=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def events(self, route: str, *events: dict[str, Any]) -> None:
        self.on(route, b"".join(json.dumps(event).encode() + b"\n" for event in events))

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        route = f"{request.method} {request.url.path}"
        if route not in self.answers:
            error = {"code": "not_found", "message": f"There is no {route}."}
            return httpx2.Response(404, json={"error": error})
        return self.answers[route](request)

    def routes(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.asked]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of the person who runs it, or waits between tries."""
    monkeypatch.setenv("PENSTOCK_PROFILE", str(tmp_path / "conf" / "profile.json"))
    monkeypatch.delenv("PENSTOCK_SERVER", raising=False)
    monkeypatch.delenv("PENSTOCK_API_KEY", raising=False)
    monkeypatch.setattr(session_module, "PAUSES_S", (0.0, 0.0))
    yield
    set_process_default(None, None)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[TableServer]:
    """A server at `SERVER`, reached with `KEY` through the client's usual way."""
    server = TableServer()
    target = Target(SERVER, KEY)
    session = Session(target, httpx2.MockTransport(server))
    monkeypatch.setattr(session_module, "_sessions", {(os.getpid(), target): session})
    monkeypatch.setenv("PENSTOCK_API_KEY", KEY)
    monkeypatch.setenv("PENSTOCK_SERVER", SERVER)
    yield server
    session.close()
