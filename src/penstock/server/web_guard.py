"""What protects people's browsers, for every page and every answer of the application.

A layer around the whole application, put there by `build_app`: headers that keep pages out of
frames and scripts out of pages, refusal of forms and requests that another site made a browser
send, of names that are not this server's, of redirects to elsewhere; and CORS, which is off unless
the operator names origins. The hot path of the gateway does not come by here: it takes no cookie,
and a call that names an origin is not hot where CORS is on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import Forbidden, InternalError, PenstockError
from penstock.server.hosts import is_address, name_of

log = logging.getLogger("penstock.server")

#: Paths for programs; everything else is for people.
_FOR_PROGRAMS = ("/v1/", "/v2/", "/predictions/", "/healthz", "/readyz", "/ping", "/metrics")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_EVERYWHERE = {b"x-content-type-options": b"nosniff", b"referrer-policy": b"no-referrer"}
_PAGES = {
    b"content-security-policy": b"default-src 'self'; object-src 'none'; form-action 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_ANSWERS = {b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'"}
_HTTPS = {b"strict-transport-security": b"max-age=31536000"}

#: What scripts of an allowed origin may send and see, and for how long (seconds) browsers keep it.
_CORS_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_CORS_HEADERS = b"authorization, content-type, accept, prefer, idempotency-key"
_CORS_SHOWN = b"retry-after, server-timing, location"
_CORS_MAX_AGE = b"600"

Scope = MutableMapping[str, Any]
Refuse = Callable[[Request, PenstockError], Response]


@dataclass(frozen=True)
class WebOptions:
    """What the operator says of browsers.

    Attributes:
        hosts: Names of this server that pages are shown under; empty for any.
        origins: Origins whose scripts may call the API; `"*"` for any.
        https: Whether clients reach the server by HTTPS.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    https: bool = False


class WebGuard:
    """The layer, an ASGI application around another.

    Args:
        app: The application inside.
        options: What the operator says.
        refuse: Makes the answer that tells of an error.
    """

    def __init__(self, app: Any, options: WebOptions, refuse: Refuse) -> None:
        self._app = app
        self._options = options
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = _Head(scope)
        origin = self._allowed_origin(head)
        guarded = self._sender(head, origin, send)
        try:
            self._check(head)
        except PenstockError as error:
            await self._refuse(Request(scope), error)(scope, receive, guarded)
            return
        if origin and head.method == "OPTIONS" and head.has(b"access-control-request-method"):
            await Response(status_code=204)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _check(self, head: _Head) -> None:
        names = self._options.hosts
        if head.for_people and names and not is_address(head.host) and head.host not in names:
            raise Forbidden(
                f"This server's pages are not shown under the name {head.host!r}.",
                hint="The operator names it with PENSTOCK_ALLOWED_HOSTS.",
            )
        # A key in a header is sent by nobody but its owner; a cookie is sent by every browser.
        believes_cookies = head.for_people or head.has(b"cookie")
        if head.method in _SAFE or not believes_cookies or head.has(b"authorization"):
            return
        if head.is_foreign():
            raise Forbidden("This form was sent from another site.", hint="Open the page itself.")

    def _allowed_origin(self, head: _Head) -> bytes:
        """Return the request's origin where its scripts may call this path; else nothing."""
        origin = head.value(b"origin")
        if not origin or head.for_people or not self._options.origins:
            return b""
        allowed = "*" in self._options.origins or origin.decode("latin-1") in self._options.origins
        return origin if allowed else b""

    def _sender(self, head: _Head, origin: bytes, send: Any) -> Any:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._headers(head, origin, message)}
            await send(message)

        return guarded

    def _headers(self, head: _Head, origin: bytes, message: Any) -> list[tuple[bytes, bytes]]:
        given = list(message.get("headers", ()))
        if head.for_people:
            given = [_checked(name, value, head.host) for name, value in given]
        there = {name.lower() for name, _ in given}
        wanted = {**_EVERYWHERE, **(_PAGES if head.for_people else _ANSWERS)}
        if self._options.https:
            wanted |= _HTTPS
        if origin:
            wanted |= _cors(origin, preflight=head.method == "OPTIONS")
        return [*given, *((name, value) for name, value in wanted.items() if name not in there)]


class _Head:
    """What of a request's head the layer looks at."""

    def __init__(self, scope: Scope) -> None:
        self._headers: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))
        path: str = scope["path"]
        self.method: str = scope["method"]
        self.for_people = not path.startswith(_FOR_PROGRAMS) and path != "/v2"
        self._authority = self.value(b"host").decode("latin-1").lower()
        self.host = name_of(self._authority)

    def has(self, name: bytes) -> bool:
        return name in self._headers

    def value(self, name: bytes) -> bytes:
        return self._headers.get(name, b"")

    def is_foreign(self) -> bool:
        """Whether the browser says that another site made it send the request."""
        if self.value(b"sec-fetch-site") not in {b"", b"same-origin", b"none"}:
            return True
        origin = self.value(b"origin").decode("latin-1").lower()
        return bool(origin) and urlsplit(origin).netloc != self._authority


def _checked(name: bytes, value: bytes, host: str) -> tuple[bytes, bytes]:
    """Return a header of a page; a redirect to elsewhere is a defect of ours.

    Raises:
        InternalError: It is one.
    """
    if name.lower() == b"location":
        target = value.decode("latin-1")
        parts = urlsplit(target.replace("\\", "/"))
        away = parts.scheme not in {"", "http", "https"} or name_of(parts.netloc.lower()) != host
        if (parts.scheme or parts.netloc) and away:
            log.error("A page wanted to redirect to %r.", target)
            raise InternalError("A page wanted to redirect to another site.")
    return name, value


def _cors(origin: bytes, *, preflight: bool) -> dict[bytes, bytes]:
    out = {b"access-control-allow-origin": origin, b"vary": b"Origin"}
    if preflight:
        out |= {
            b"access-control-allow-methods": _CORS_METHODS,
            b"access-control-allow-headers": _CORS_HEADERS,
            b"access-control-max-age": _CORS_MAX_AGE,
        }
    else:
        out[b"access-control-expose-headers"] = _CORS_SHOWN
    return out


def origins_of(text: str) -> frozenset[str]:
    """Return the origins in a setting: with commas between, each as browsers write it."""
    return frozenset(_split(text))


def _split(text: str) -> Iterable[str]:
    return (part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
