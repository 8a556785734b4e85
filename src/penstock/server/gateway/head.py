"""The head of a request: request line and header fields, parsed once for each different head.

Clients that keep a connection send the same head again and again, so a parsed head is remembered
under its exact bytes. What is remembered was accepted by httptools, the strictest of the parsers
we measured, plus our own rules; equal bytes mean the same thing every time. `protocol` calls
`HeadReader.read` with everything up to and including the empty line.
"""

from __future__ import annotations

from typing import Any

import httptools

from penstock.codec.frames import ACCEPT_ARROW, ACCEPT_NPY
from penstock.codec.webhook_field import is_wide
from penstock.core.errors import AddressTooLong, HeadersTooLarge, PenstockError, RequestError
from penstock.server.gateway.limits import Limits
from penstock.server.hosts import is_address, name_of

#: Different heads remembered, and the longest one that is.
REMEMBERED_HEADS = 1024
REMEMBERED_BYTES = 2048

#: Seconds after which all of them are forgotten.
REMEMBERED_S = 600.0

#: Length of a body that is chunked: not known before its end.
CHUNKED = -1

#: Longest `Content-Type`: it goes to the worker in a frame, which counts it in two bytes.
MEDIA_TYPE_BYTES = 8 * 1024

_MAX_LENGTH_DIGITS = 18

#: A `traceparent` of version 0 has 55 bytes; later versions may have more.
_TRACEPARENT_BYTES = 128


class Head:
    """What the gateway needs to know of a request's head.

    Attributes:
        raw: The head's bytes as the app is to read them, including the empty line.
        path: Address as sent (path and query).
        hot: Whether the gateway may serve it inline if `path` is a predict path.
        length: Bytes of body that follow, or `CHUNKED`.
        keep_alive: Whether the client keeps the connection.
        authorization: Value of that field, `b""` if absent.
        media_type: Value of `Content-Type`, `b""` if absent.
        flags: `ACCEPT_NPY`, `ACCEPT_ARROW` or 0.
        trace: Value of `traceparent`, `b""` if absent or too long to be one.
    """

    __slots__ = (
        "authorization",
        "flags",
        "hot",
        "keep_alive",
        "length",
        "media_type",
        "path",
        "raw",
        "trace",
    )

    def __init__(self, raw: bytes, seen: _Seen, parser: Any, *, cors: bool = False) -> None:
        fields = seen.fields
        version = parser.get_http_version()
        self.raw = raw
        self.path = seen.address
        self.length = _body_length(seen)
        self.keep_alive = version == "1.1" and seen.keep_alive
        self.authorization = fields.get(b"authorization", b"")
        self.media_type = fields.get(b"content-type", b"")
        self.trace = traceparent(fields.get(b"traceparent", b""))
        self.flags = accept_flags(fields.get(b"accept", b""))
        self.hot = (
            parser.get_method() == b"POST"
            and version == "1.1"
            and self.length != CHUNKED
            and b"expect" not in fields
            and b"content-encoding" not in fields
            and b"prefer" not in fields
            and b"idempotency-key" not in fields
            and not is_wide(self.media_type)  # the name of a webhook is searched for as bytes
            and not (cors and b"origin" in fields)
        )


def traceparent(value: bytes) -> bytes:
    """Return the value of `traceparent` if it can be one (W3C Trace Context), else `b""`."""
    return value if len(value) <= _TRACEPARENT_BYTES and value.isascii() else b""


def accept_flags(accept: bytes) -> int:
    """Return the flags of a call with this `Accept` value."""
    if b"application/" not in accept.lower():
        return 0
    accept = accept.lower()
    flags = ACCEPT_NPY if b"application/x-npy" in accept else 0
    return flags | (ACCEPT_ARROW if b"application/vnd.apache.arrow.stream" in accept else 0)


class HeadReader:
    """Parses heads and remembers them. One per server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._forget_at = 0.0
        self.known: dict[bytes, Head] = {}

    def sweep(self, now: float) -> None:
        """Forget all heads every now and then: they hold keys. `now` in seconds that only grow."""
        if now >= self._forget_at:
            self._forget_at = now + REMEMBERED_S
            self.known.clear()

    def read(self, raw: bytes) -> Head:
        """Return the parsed head.

        Args:
            raw: The head, from its first byte up to and including the empty line.

        Raises:
            RequestError: It is not proper HTTP/1.x (400), or too large (414, 431).
        """
        head = self.known.get(raw)
        if head is None:
            head = self._parse(raw)
            if len(raw) <= REMEMBERED_BYTES:
                if len(self.known) >= REMEMBERED_HEADS:
                    self.known.clear()
                self.known[raw] = head
        return head

    def _parse(self, raw: bytes) -> Head:
        self.check_size(raw)
        seen = _Seen()
        parser = seen.parser = httptools.HttpRequestParser(seen)
        upgrade = False
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as error:
            raise _malformed(str(error)) from None
        finally:
            seen.parser = None  # they know each other: do not leave that to the collector
        version = parser.get_http_version()
        self._check(seen, version)
        line = b"%b %b HTTP/%b\r\n" % (parser.get_method(), seen.address, version.encode("ascii"))
        if not raw.startswith(line):
            raise _malformed("the request line is not method, address and version")
        if upgrade:
            raw = _without_upgrade(raw)
        return Head(raw, seen, parser, cors=self._limits.cors)

    def _check(self, seen: _Seen, version: str) -> None:
        if not seen.complete or seen.messages != 1 or seen.body:
            raise _malformed("the header fields do not end where they should")
        if version not in {"1.1", "1.0"}:
            raise _malformed(f"version {version} is not spoken here")
        self._check_fields(seen)
        if seen.repeated:
            raise _malformed(f"{seen.repeated.decode('latin-1')} is there twice")
        if version == "1.1" and b"host" not in seen.fields:
            raise _malformed("an HTTP/1.1 request needs a Host field")
        self._check_host(seen.fields.get(b"host", b"").decode("latin-1").lower())
        if not seen.address.startswith((b"/", b"http://", b"https://")):
            raise _malformed("the address is not a path")

    def _check_fields(self, seen: _Seen) -> None:
        if seen.count > self._limits.head_fields:
            raise HeadersTooLarge(
                f"The request has {seen.count} header fields; the limit is "
                f"{self._limits.head_fields}."
            )
        if len(seen.fields.get(b"content-type", b"")) > MEDIA_TYPE_BYTES:
            raise HeadersTooLarge(
                f"The request's Content-Type has more than {MEDIA_TYPE_BYTES} bytes."
            )

    def _check_host(self, authority: str) -> None:
        hosts, host = self._limits.hosts, name_of(authority)
        if hosts and host not in hosts and not is_address(host):
            raise RequestError(
                f"This server is not reached by the name {host!r}.",
                hint="The operator names it with PENSTOCK_ALLOWED_HOSTS.",
            )

    def check_size(self, raw: bytes) -> None:
        """Refuse a head, or the part of one that has come so far, that is too large.

        Raises:
            AddressTooLong: The request line is.
            HeadersTooLarge: The whole is.
        """
        limits = self._limits
        if len(raw) <= limits.address_bytes:
            return
        line = raw.find(b"\r\n")
        if line > limits.address_bytes + 32 or line < 0:
            raise AddressTooLong(
                f"The request's address has more than {limits.address_bytes} bytes."
            )
        if len(raw) > limits.head_bytes:
            raise HeadersTooLarge(
                f"The request's header fields have more than {limits.head_bytes} bytes."
            )


class _Seen:
    """Callbacks of the parser."""

    #: Fields that may come once only: two of them and two readers may differ in what was meant.
    SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"authorization"})

    def __init__(self) -> None:
        self.address = b""
        self.fields: dict[bytes, bytes] = {}
        self.count = 0
        self.repeated = b""
        self.messages = 0
        self.complete = False
        self.body = False
        self.keep_alive = False
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_url(self, part: bytes) -> None:
        self.address += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        name = name.lower()
        if name in self.fields:
            if name in self.SINGLE:
                self.repeated = name
            return
        self.fields[name] = value

    def on_headers_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()  # later it speaks of the next message

    def on_body(self, _body: bytes) -> None:
        self.body = True


def _body_length(seen: _Seen) -> int:
    coding = seen.fields.get(b"transfer-encoding")
    length = seen.fields.get(b"content-length")
    if coding is not None:
        if length is not None or coding.lower().strip() != b"chunked":
            raise _malformed("Transfer-Encoding must be chunked, without Content-Length")
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise _malformed("Content-Length is not a number")
    return int(length)


def _without_upgrade(raw: bytes) -> bytes:
    """Drop the offer of another protocol: we decline it, and a parser would stop at it."""
    lines = raw.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line[:8].lower() != b"upgrade:")


def _malformed(why: str) -> PenstockError:
    return RequestError(f"The request is not proper HTTP: {why}.")
