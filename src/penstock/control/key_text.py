"""The text of an API key: making one, hashing one, finding one in a header.

Called by `control.keys`. The text itself is shown once, when a key is made, and never stored: the
records have its SHA-256. A fast hash is right here, because the text is 192 random bits and not
a password that somebody thought of.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from penstock.core.errors import InvalidSetting, Unauthorized
from penstock.core.records import Scope

#: Shortest key that may be given by a person; those made here are longer.
MIN_GIVEN_LENGTH = 16

_HINT = "Send the key as `Authorization: <key>` or `Authorization: Bearer <key>`."
_SCHEMES = (b"bearer", b"key")


def make_key(scope: Scope) -> tuple[str, str]:
    """Return a fresh key text `pk_<scope initial>_<8 hex>_<32 url-safe>` and its public prefix."""
    prefix = f"pk_{scope.value[0]}_{secrets.token_hex(4)}"
    return f"{prefix}_{secrets.token_urlsafe(24)}", prefix


def digest_of(text: bytes) -> bytes:
    """Return what the server keeps of a key: the SHA-256 (32 bytes) of its whole text."""
    return hashlib.sha256(text).digest()


def key_in(header: bytes | None) -> bytes:
    """Return the key in an `Authorization` header: `<key>`, `Bearer <key>` or `Key <key>`.

    Raises:
        Unauthorized: The header is missing, empty, or of another scheme.
    """
    parts = header.split() if header else ()
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2 and parts[0].lower() in _SCHEMES:
        return parts[1]
    if not parts:
        raise Unauthorized("The request has no API key.", hint=_HINT)
    raise Unauthorized("The Authorization header is not an API key.", hint=_HINT)


@lru_cache(maxsize=1024)
def digest_in(header: bytes | None) -> bytes:
    """Return `digest_of` the key in an `Authorization` header, without hashing it every time.

    Raises:
        Unauthorized: As `key_in`.
    """
    return digest_of(key_in(header))


def check_given(text: str) -> bytes:
    """Return the bytes of a key that a person chose.

    Raises:
        InvalidSetting: It is too short, or has spaces or characters that no header can carry. The
            message does not repeat it.
    """
    if len(text) < MIN_GIVEN_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidSetting(
            f"The admin key that was given is not {MIN_GIVEN_LENGTH} or more printable ASCII "
            "characters without spaces.",
            hint="Set PENSTOCK_ADMIN_KEY to a long random text, or leave it out.",
        )
    return text.encode()
