"""Finds `webhook_endpoint` in a predict body without decoding the data beside it.

Called by the server's predict paths after a byte search said that the word is there. What cannot
be read is left to the worker, whose words say what is wrong.
"""

from __future__ import annotations

import msgspec

from penstock.codec.headers import split_parameters
from penstock.codec.multipart import parse_multipart
from penstock.core.errors import PenstockError

FIELD = b"webhook_endpoint"

_JSON_TYPES = frozenset(
    {"", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"}
)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    data: msgspec.Raw
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    webhook_endpoint: str | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode


def find_webhook(media_type: str, body: bytes | memoryview) -> str | None:
    """Return the URL that a predict body asks to answer to, or None.

    Args:
        media_type: The Content-Type header; empty means JSON.
        body: The whole body.
    """
    try:
        kind, parameters = split_parameters(media_type)
        if kind in _JSON_TYPES or kind.endswith("+json"):
            return _envelope(body).webhook_endpoint
        if kind == "multipart/form-data":
            return _in_parts(parameters.get("boundary"), body)
    except (PenstockError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None


def _in_parts(boundary: str | None, body: bytes | memoryview) -> str | None:
    for part in parse_multipart(boundary, body):
        if part.name == "webhook_endpoint" and part.filename is None:
            text = bytes(body[part.start : part.end]).decode("utf-8", "replace")
            return text.strip() or None
    return None
