"""How much of a call's input and result is kept: all of it, only its form, or nothing.

Called by `kept_calls` in the store's thread.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from penstock.codec.light import UNREADABLE

#: Values of one list or object whose form is shown; the rest is counted.
_SHOWN = 50
_DEEPEST = 12


class Samples(str, Enum):
    """What is kept of inputs and results (setting `samples`)."""

    FULL = "full"
    REDACTED = "redacted"
    OFF = "off"


def sample(body: bytes, whole_size: int, limit: int, how: Samples) -> tuple[bytes | None, bool]:
    """Return what is kept of a body, and whether it is only the beginning.

    Args:
        body: The body, or its beginning.
        whole_size: Bytes of the whole body.
        limit: Most bytes that are kept.
        how: How much may be kept.
    """
    if how is Samples.OFF:
        return None, False
    if how is Samples.REDACTED:
        return (redacted(body) if len(body) == whole_size else None), False
    return body[:limit], whole_size > min(len(body), limit)


def redacted(body: bytes) -> bytes | None:
    """Return JSON with each value replaced by its type; None for what is no JSON."""
    try:
        return msgspec.json.encode(_form(msgspec.json.decode(body), 0))
    except UNREADABLE:
        return None


def _form(value: Any, depth: int) -> Any:
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        shown = {key: _form(item, depth + 1) for key, item in list(value.items())[:_SHOWN]}
        return shown if len(value) <= _SHOWN else {**shown, "…": f"{len(value) - _SHOWN} more"}
    if isinstance(value, list):
        forms = [_form(item, depth + 1) for item in value[:_SHOWN]]
        return forms if len(value) <= _SHOWN else [*forms, f"… {len(value) - _SHOWN} more"]
    if isinstance(value, str):
        return f"string of {len(value)}"
    if isinstance(value, bool) or value is None:
        return "true or false" if value is not None else None
    return "number"
