"""Finds `webhook_endpoint` in a predict body without decoding the data beside it.

Called by the server's predict paths after a byte search said that the word is there. Whatever the
worker reads as the field is found. What cannot be read is left to the worker, whose words say what
is wrong.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from penstock.codec.headers import split_parameters
from penstock.codec.json_bodies import WIDE, as_utf8, behind_bom, is_json
from penstock.codec.multipart import parse_multipart
from penstock.core.errors import PenstockError

FIELD = b"webhook_endpoint"

_MULTIPART = "multipart/form-data"

# Between two letters are the zeros of the one before (little-endian) or of the one behind.
_WIDE_FIELDS = tuple(
    zeros.join(FIELD[i : i + 1] for i in range(len(FIELD))) for zeros in (b"\0", b"\0\0\0")
)

#: Bytes of the longest form of its name.
LONGEST = max(map(len, _WIDE_FIELDS))


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    data: msgspec.Raw
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    webhook_endpoint: str | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode


@lru_cache(maxsize=256)
def is_wide(media_type: bytes) -> bool:
    """Whether a letter may be more than one byte in a body of this type."""
    lowered = media_type.lower()
    return any(charset in lowered for charset in WIDE)


def mentions_webhook(media_type: bytes, data: bytes) -> bool:
    """Whether the field's name is anywhere in (a piece of) a body of this type."""
    if FIELD in data:
        return True
    return is_wide(media_type) and any(word in data for word in _WIDE_FIELDS)


def find_webhook(media_type: str, body: bytes | memoryview) -> str | None:
    """Return the URL that a predict body asks to answer to, or None.

    Args:
        media_type: The Content-Type header; empty means JSON.
        body: The whole body.
    """
    try:
        kind, parameters = split_parameters(media_type)
        if kind.startswith(_MULTIPART):
            return _in_parts(parameters.get("boundary"), body)
        if is_json(kind):
            return _in_json(as_utf8(body, parameters.get("charset", "").lower()))
    except (PenstockError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None


def _in_json(body: bytes | memoryview) -> str | None:
    rest = behind_bom(body)
    return _envelope(body if rest is None else rest).webhook_endpoint


def _in_parts(boundary: str | None, body: bytes | memoryview) -> str | None:
    for part in parse_multipart(boundary, body):
        if part.name == "webhook_endpoint" and part.filename is None:
            text = bytes(body[part.start : part.end]).decode("utf-8", "replace")
            return text.strip() or None
    return None
