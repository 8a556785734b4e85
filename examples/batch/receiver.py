"""A receiver of webhooks, as short as one can be: it checks signatures and keeps what came.

Yours would be a route of your web application. What it must do is the same: check the signature
over the body as it came, answer 2xx quickly, and bear the same delivery twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from typing import Any


class Receiver(http.server.ThreadingHTTPServer):
    """Listens on a free port of this machine while its `with` block runs.

    Attributes:
        secret: The project's webhook secret, `whsec_…`; nothing is taken before it is set.
        events: What came, by the id of its delivery.
        refused: How many deliveries had no right signature.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/scored"
        self.secret = ""
        self.events: dict[str, Any] = {}
        self.refused = 0
        self.changed = threading.Condition()

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def take(self, headers: Any, body: bytes) -> bool:
        """Keep an event if its signature is right; return whether it is."""
        right = signed(self.secret, headers, body)
        with self.changed:
            if right:
                self.events[headers["webhook-id"]] = json.loads(body)
            else:
                self.refused += 1
            self.changed.notify_all()
        return right

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until `count` events have come; return whether they have."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.events) >= count, timeout_s)


def signed(secret: str, headers: Any, body: bytes) -> bool:
    """Whether one of the signatures is the project's, as Standard Webhooks 1.0 says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [part.partition(",")[2] for part in headers["webhook-signature"].split()]
    return bool(secret) and any(hmac.compare_digest(expected, one) for one in given)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one delivery: 204 if it was taken, 401 if not."""

    server: Receiver

    def do_POST(self) -> None:
        """Take one delivery."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204 if self.server.take(self.headers, body) else 401)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing: the demonstration says what came."""
