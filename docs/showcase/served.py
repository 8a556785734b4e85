"""Runs the server of a showcase: deploys to it, gives it a past, and calls it."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from penstock import start
from showcase import flows, history
from showcase.traffic import RATES, Traffic

#: Calls of each version that its past is made of.
_CALLS = 50

#: Of what the threads of `Traffic` mean to send, what they come to send.
_REACHED = 0.85

#: Of the time that preparing takes, what the start of the server takes.
_START_SHARE = 0.12

#: Who has a deploy key; the pictures are signed in with the first.
_PEOPLE = ("anna-laptop", "jonas-ci")


@contextlib.contextmanager
def lively(folder: Path, made: dict[str, Any], port: int = 0) -> Iterator[tuple[str, str]]:
    """Yield address and a deploy key of a showcase with a past, which is being called.

    Args:
        folder: Where its data are.
        made: What `models.train` returned.
        port: Where it listens; 0 for any port.
    """
    os.environ["PENSTOCK_PROFILE"] = str(folder / "profile.json")
    os.environ["PENSTOCK_ADMIN_KEY"] = secrets.token_urlsafe(32)
    os.environ["PENSTOCK_WEBHOOK_ALLOW"] = "127.0.0.1"
    with _receiver() as webhook:
        began = time.time()
        keys = _prepare(folder / "server", made, webhook)
        # What a start takes is not known before it is over: the share of all of this that it was.
        until = time.time() + (time.time() - began) * _START_SHARE
        rates = {name: rate * _REACHED for name, rate in RATES.items()}
        history.give(folder / "server", rates, until=until)
        with (
            start(data=folder / "server", port=port) as server,
            Traffic(server.url, keys[_PEOPLE[0]], made) as traffic,
        ):
            traffic.submit("demand-forecast", 12, webhook)
            yield server.url, keys[_PEOPLE[0]]


def _prepare(data: Path, made: dict[str, Any], webhook: str) -> dict[str, str]:
    """Deploy, and call each version as often as its past needs; return the deploy keys."""
    os.environ["PENSTOCK_KEEP_SUCCESSES"] = "all"
    with start(data=data, port=0) as server:
        keys = {who: _key(server.url, who) for who in _PEOPLE}
        key = keys[_PEOPLE[0]]
        flows.deploy_all(server.url, keys, made)
        httpx2.put(
            f"{server.url}/v1/default/secrets/INVOICE_TOKEN",
            json={"value": secrets.token_hex(16)},
            headers={"Authorization": key},
        ).raise_for_status()
        traffic = Traffic(server.url, key, made)
        for name in RATES:
            traffic.once(name, _CALLS)
        for name, version in (("digits", 1), ("digits", 3), ("churn-scorer", 1)):
            traffic.once(name, _CALLS, version)
        traffic.submit("demand-forecast", 3, webhook)
        time.sleep(2)  # what was answered last is written once a second
    del os.environ["PENSTOCK_KEEP_SUCCESSES"]
    return keys


def _key(url: str, who: str) -> str:
    body = {"scope": "deploy", "label": who}
    admin = {"Authorization": os.environ["PENSTOCK_ADMIN_KEY"]}
    made = httpx2.post(f"{url}/v1/default/keys", json=body, headers=admin)
    return str(made.raise_for_status().json()["key"])


class _Receiver(BaseHTTPRequestHandler):
    """Takes webhooks; every fifth is asked to come again."""

    taken = 0

    def do_POST(self) -> None:
        """Take one."""
        self.rfile.read(int(self.headers["Content-Length"]))
        _Receiver.taken += 1
        self.send_response(503 if _Receiver.taken % 5 == 0 else 204)
        self.end_headers()

    def log_message(self, *_unused: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/done"
        server.shutdown()
        thread.join()
