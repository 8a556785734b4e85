"""The client's one way to the server: kept-alive connections, errors as exceptions, events.

Everything of the client that talks holds a `Session`, got from `session_for`, so that calls to one
server share connections. Requests that may be repeated safely are tried up to three times; others
once. The key travels in a header only: it is in no message and no text form.
"""

from __future__ import annotations

import atexit
import json
import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

import httpx2

from penstock.client.config import Target, check_key, is_loopback
from penstock.client.responses import error_of, events_of, json_of
from penstock.codec.request import EncodedRequest
from penstock.core.errors import DeadlineExceeded, RateLimited, ServerUnreachable

#: Seconds to wait for a connection, and for one answer of the control API.
CONNECT_S = 5.0
ANSWER_S = 60.0
#: Seconds to wait for a change of what serves: a version may have to be loaded first.
CHANGE_S = 600.0
#: Seconds between two events of a deploy: longer than any step takes without reporting.
EVENT_S = 600.0
#: The server's own limit for a call, and what the client waits beyond it so that the server's
#: answer, which says more than a client's time-out, arrives first.
SERVER_LIMIT_S = 180.0
MARGIN_S = 15.0

#: Bodies up to this many bytes are sent in one piece.
WHOLE_BYTES = 1 << 20

#: Pauses before the second and third try, in seconds.
PAUSES_S = (0.1, 0.4)

#: Seconds that a request waits at most for its turn when its key makes too many.
TURN_S = 60.0

Content = bytes | Iterable[bytes]
T = TypeVar("T")


class Session:
    """Kept-alive connections to one server with one key. Safe to share between threads.

    Args:
        target: The server and the key.
        transport: Another way to carry requests; tests give one.
    """

    def __init__(self, target: Target, transport: httpx2.BaseTransport | None = None) -> None:
        self.server = target.server
        local = is_loopback(target.server)
        # A proxy never helps on the same machine, and loading certificates for a connection that
        # has no TLS costs 70 ms.
        self._client = httpx2.Client(
            transport=transport,
            headers={"Authorization": check_key(target.api_key)},
            timeout=_timeout(ANSWER_S),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=60.0),
            trust_env=not local,
            verify=_verify(target.server, local),
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"Session({self.server!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET; tried again when the connection breaks."""
        return patiently(lambda: self._plain("GET", path))

    def delete(self, path: str, limit_s: float = ANSWER_S) -> Any:
        """Return the JSON answer to a DELETE (None when it has no body)."""
        return in_turn(lambda: self._plain("DELETE", path, limit_s=limit_s))

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, limit_s: float = ANSWER_S
    ) -> Any:
        """Return the JSON answer to a POST of `fields` as a JSON object."""
        content = _json(fields or {})
        return in_turn(lambda: self._plain("POST", path, content, _JSON, limit_s))

    def patch(self, path: str, fields: Mapping[str, Any], limit_s: float = ANSWER_S) -> Any:
        """Return the JSON answer to a PATCH with `fields` as a JSON object."""
        return in_turn(lambda: self._plain("PATCH", path, _json(fields), _JSON, limit_s))

    def put_json(self, path: str, fields: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a PUT of `fields`; tried again when the connection breaks."""
        return patiently(lambda: self._plain("PUT", path, _json(fields), _JSON))

    def put(self, path: str, content: Callable[[], Iterable[bytes]], size: int) -> None:
        """Send `size` bytes as they are; tried again, from the start, when the connection breaks.

        Args:
            path: Path below the server's address, or a whole URL.
            content: Returns the bytes in pieces; called once for each try.
            size: How many bytes that is.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        patiently(lambda: self._plain("PUT", path, content(), headers))

    def fetch(self, path: str, write: Callable[[bytes], object]) -> None:
        """GET bytes and give them to `write` in pieces; tried once only."""
        request = self._client.build_request("GET", self._url(path), timeout=_timeout(ANSWER_S))
        with _as_our_errors(self.server, ANSWER_S):
            response = in_turn(lambda: self._begun(request))
            try:
                for piece in response.iter_bytes():
                    write(piece)
            finally:
                response.close()

    def call(
        self,
        url: str,
        body: EncodedRequest,
        timeout_s: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Return the answer to a POST of `body`, whatever its status; tried once only.

        Args:
            url: Path below the server's address, or a whole URL.
            body: What to send; a big one is sent in pieces.
            timeout_s: Seconds to wait for the answer; None waits a little longer than the server.
            headers: Further header fields.

        Raises:
            ServerUnreachable: No server answers.
            DeadlineExceeded: No answer in time.
        """
        limit = SERVER_LIMIT_S + MARGIN_S if timeout_s is None else timeout_s
        request = self._client.build_request(
            "POST",
            self._url(url),
            content=body.to_bytes() if body.size <= WHOLE_BYTES else body,
            headers={
                **(headers or {}),
                "Content-Type": body.media_type,
                "Content-Length": str(body.size),
            },
            timeout=_timeout(limit),
        )
        with _as_our_errors(self.server, limit):
            return self._client.send(request)

    @contextmanager
    def events(self, path: str, fields: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
        """POST `fields` and hand out the answer's events, one JSON object a line, as they come."""
        request = self._client.build_request(
            "POST",
            self._url(path),
            content=_json(fields),
            headers=_JSON,
            timeout=_timeout(EVENT_S),
        )
        with _as_our_errors(self.server, EVENT_S):
            response = in_turn(lambda: self._begun(request))
            try:
                yield events_of(response)
            finally:
                response.close()

    def _begun(self, request: httpx2.Request) -> httpx2.Response:
        """Return a good answer whose body is still to come."""
        response = self._client.send(request, stream=True)
        if response.status_code < 300:
            return response
        with closing(response):
            response.read()
            raise error_of(response)

    def _plain(
        self,
        method: str,
        path: str,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float = ANSWER_S,
    ) -> Any:
        with _as_our_errors(self.server, limit_s):
            response = self._client.request(
                method,
                self._url(path),
                content=content,
                headers=headers,
                timeout=_timeout(limit_s),
            )
        if response.status_code >= 300:
            raise error_of(response)
        return json_of(response) if response.content else None

    def _url(self, path: str) -> str:
        return path if "://" in path else self.server + path


_JSON = {"Content-Type": "application/json"}
_sessions: dict[tuple[int, Target], Session] = {}


def _verify(server: str, local: bool) -> ssl.SSLContext | bool:
    """Return whom to believe: nobody is needed without TLS; `SSL_CERT_FILE` counts everywhere."""
    if not local:
        return True
    return False if server.startswith("http://") else ssl.create_default_context()


def session_for(target: Target) -> Session:
    """Return the process's session for a server and key, made on first use.

    A forked child gets its own: two processes must not write into one connection.
    """
    key = (os.getpid(), target)
    found = _sessions.get(key)
    if found is None:
        found = _sessions.setdefault(key, Session(target))
    return found


@atexit.register
def _close_sessions() -> None:
    """Close what this process opened, so that no socket is left for the interpreter to find.

    The connections that a forked child inherits are its parent's and stay as they are.
    """
    for (pid, _), session in list(_sessions.items()):
        if pid == os.getpid():
            session.close()


def patiently(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; when the connection breaks, try up to twice more."""
    for pause in PAUSES_S:
        with suppress(ServerUnreachable):
            return in_turn(attempt)
        time.sleep(pause)
    return in_turn(attempt)


def in_turn(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; while its key makes too many requests, wait as it is told.

    Such a request was not looked at, so it can be sent again whatever it asks for.
    """
    until = time.monotonic() + TURN_S
    while True:
        try:
            return attempt()
        except RateLimited as error:  # noqa: PERF203 - trying again is the point
            wait_s = float(error.facts.get("retry_after_s") or 1.0)
            if time.monotonic() + wait_s > until:
                raise
            time.sleep(wait_s)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _timeout(answer_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(connect=CONNECT_S, read=answer_s, write=ANSWER_S, pool=None)


@contextmanager
def _as_our_errors(server: str, limit_s: float) -> Iterator[None]:
    """Turn the carrier's exceptions into Penstock's, which say what to do.

    The cause is left out on purpose: a carrier's exception may hold the request and its headers.
    """
    try:
        yield
    except (httpx2.ReadTimeout, httpx2.WriteTimeout):
        raise DeadlineExceeded(
            f"{server} did not answer within {limit_s:g} s.",
            hint="Give a larger timeout_s, or look at the server's log.",
        ) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL) as error:
        raise unreachable(server, str(error)) from None
    except httpx2.TransportError as error:
        raise ServerUnreachable(
            f"The connection to {server} broke ({type(error).__name__}: {error}).",
            hint="Look at the server's log; it may have been stopped.",
        ) from None


def unreachable(server: str, why: str) -> ServerUnreachable:
    """Return the error for a server that does not answer, saying how to start one."""
    return ServerUnreachable(
        f"No Penstock server answers at {server} ({why}).",
        hint="Start one with `penstock serve`, or with `penstock.start()` in a notebook; or give "
        "its address as server= or in PENSTOCK_SERVER.",
    )
