"""What a server's answer says: values, events, or an error of ours.

Used by `penstock.client.session` and by those who read answers themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2

from penstock.core.errors import PenstockError, UnexpectedAnswer, from_dict


def json_of(response: httpx2.Response) -> Any:
    """Return the body as JSON.

    Raises:
        UnexpectedAnswer: It is none.
    """
    try:
        return json.loads(response.content)
    except ValueError:
        raise unexpected(response) from None


def as_told(fields: dict[str, Any]) -> PenstockError:
    """Return the error that the server describes.

    Where Python prints it, the traceback of the flow's code stands below it (from 3.11 on).
    """
    error = from_dict(fields)
    if error.traceback:
        error.__notes__ = [f"In the flow:\n{error.traceback.rstrip()}"]
    return error


def error_of(response: httpx2.Response) -> PenstockError:
    """Return the error that an answer describes, with run id and status among its facts."""
    try:
        body = json.loads(response.content)
        error = as_told(body["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return unexpected(response)
    error.facts.setdefault("status", response.status_code)
    for name, value in (
        ("run_id", body.get("run_id")),
        ("retry_after_s", response.headers.get("Retry-After")),
    ):
        if value is not None:
            error.facts.setdefault(name, value)
    return error


def unexpected(response: httpx2.Response) -> UnexpectedAnswer:
    """Return the error for an answer that is not Penstock's."""
    where = f"{response.request.method} {response.request.url}"
    moved = response.headers.get("Location")
    if response.is_redirect and moved:
        return UnexpectedAnswer(
            f"{where} was redirected to {moved}.", hint="Give the final address as server=."
        )
    start = response.content[:200].decode("utf-8", "replace").strip()
    return UnexpectedAnswer(
        f"{where} answered {response.status_code} with a body that is not Penstock's: {start!r}.",
        hint="Is there a Penstock server at this address, and a proxy in between?",
        status=response.status_code,
    )


def events_of(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """Yield the events of an answer that is still being written, one JSON object a line."""
    for line in _lines(response):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise UnexpectedAnswer(f"The server sent an event that is not JSON: {line[:200]!r}.")
        yield event


def _lines(response: httpx2.Response) -> Iterator[bytes]:
    """Split at line feeds only: a line separator inside a JSON string is no end of line."""
    rest = b""
    for piece in response.iter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(bytes.strip, whole)
    if rest.strip():
        yield rest
