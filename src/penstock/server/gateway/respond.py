"""Answers as HTTP, written the same way by the gateway and by the Starlette predict route.

`render` decides status, header fields and body; `to_wire` turns that into the bytes the gateway
writes. The order of the fields is the one uvicorn writes, so that both ways give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

from penstock.codec.frames import MEDIA_ARROW, MEDIA_JSON, MEDIA_NPY, MEDIA_OIP
from penstock.codec.results import error_body
from penstock.control.predict import Answer
from penstock.core.errors import BodyTooLarge, PenstockError, SlowBody
from penstock.server.errors import RETRY_STATUSES, status_of

#: Name of the field that carries the run id of an answer.
RUN_ID_FIELD = b"penstock-run-id"

MEDIA_TYPES: dict[int, bytes] = {
    MEDIA_JSON: b"application/json",
    MEDIA_NPY: b"application/x-npy",
    MEDIA_OIP: b"application/octet-stream",
    MEDIA_ARROW: b"application/vnd.apache.arrow.stream",
}


class Rendered(NamedTuple):
    """An answer as HTTP. `headers` are lower-case names with values, in the order written."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | memoryview


def refusal(error: PenstockError) -> Answer:
    """Return the answer that tells of `error`."""
    return Answer(code=error.code, error=error)


def refusal_closes(error: PenstockError, length: int, unread_bytes: int) -> bool:
    """Whether the connection is closed after a refusal that did not wait for the body.

    Args:
        error: Why.
        length: Announced bytes of body, negative if unknown.
        unread_bytes: Most bytes worth reading to keep the connection.
    """
    return isinstance(error, BodyTooLarge | SlowBody) or not 0 <= length <= unread_bytes


def render(
    answer: Answer, run_id: str, *, with_traceback: bool = False, close: bool = False
) -> Rendered:
    """Return status, header fields and body of an answer.

    Args:
        answer: From the engine, or from `refusal`.
        run_id: The call's id.
        with_traceback: Whether an error made by the server may show a traceback.
        close: Whether the connection is closed afterwards.
    """
    error = answer.error
    status = status_of(answer.code)
    body = answer.body if error is None else error_body(error, run_id, with_traceback)
    headers = [
        (b"content-type", MEDIA_TYPES[answer.media]),
        (b"content-length", b"%d" % len(body)),
        (RUN_ID_FIELD, run_id.encode("ascii")),
    ]
    if answer.media == MEDIA_OIP and error is None:
        body, field = _split_infer(body)
        headers[1] = (b"content-length", b"%d" % len(body))
        headers.append(field)
    if answer.timing:
        headers.append((b"server-timing", answer.timing))
    if status in RETRY_STATUSES:
        headers.append((b"retry-after", b"%d" % _retry_after(error)))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if close:
        headers.append((b"connection", b"close"))
    return Rendered(status, headers, body)


def _split_infer(
    body: bytes | memoryview,
) -> tuple[bytes | memoryview, tuple[bytes, bytes]]:
    """Return the body without the size in front, and the field that says it."""
    size = int.from_bytes(body[:4], "little")
    return memoryview(body)[4:], (b"inference-header-content-length", b"%d" % size)


def _retry_after(error: PenstockError | None) -> int:
    """Return whole seconds, at least one."""
    asked = error.facts.get("retry_after_s") if error is not None else None
    return max(1, -int(-asked // 1)) if isinstance(asked, int | float) else 1


class Wire:
    """Writes answers as bytes. Keeps the `Date` field, which changes once a second.

    Args:
        now: Seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._next = 0.0  # when the second after the one in `_date` begins
        self._date = b""
        self._ok = b""

    def date(self) -> bytes:
        """Return the value of the `Date` field (RFC 9110 form)."""
        self._tick()
        return self._date

    def _tick(self) -> None:
        now = self._now()
        if now < self._next:
            return
        self._next = int(now) + 1.0
        self._date = formatdate(int(now), usegmt=True).encode("ascii")
        self._ok = (
            b"HTTP/1.1 200 OK\r\ndate: " + self._date + b"\r\ncontent-type: application/json"
            b"\r\ncontent-length: "
        )

    def success(self, answer: Answer, run_id: str) -> bytes:
        """Return the bytes of a good JSON answer on a kept connection: `render`, made quick."""
        if self._now() >= self._next:
            self._tick()
        body: Any = answer.body
        timing = answer.timing
        return b"".join(
            (
                self._ok,
                b"%d" % len(body),
                b"\r\npenstock-run-id: ",
                run_id.encode("ascii"),
                b"\r\nserver-timing: " if timing else b"",
                timing,
                b"\r\n\r\n",
                body,
            )
        )

    def head(self, rendered: Rendered) -> bytes:
        """Return everything before the body."""
        self._tick()
        lines = [status_line(rendered.status), b"date: ", self._date, b"\r\n"]
        for name, value in rendered.headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


def status_line(status: int) -> bytes:
    """Return the first line of an answer, CRLF included."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode("ascii")
