"""Which bodies are JSON, and how their text comes to UTF-8.

Used by `payload` in the worker and by `webhook_field` in the server, so that both read alike.
"""

from __future__ import annotations

from penstock.core.errors import MalformedBody, UnsupportedMedia

JSON = "application/json"

#: Early clients sent JSON as text/plain, and curl -d says it sends a form.
_TYPES = frozenset({"", JSON, "text/json", "text/plain", "application/x-www-form-urlencoded"})

#: Charsets that need no conversion.
UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})

#: How charsets begin that have more than one byte for a letter.
WIDE = (b"utf-16", b"utf-32")

# Only these: Python knows other "text encodings" that take quadratic time.
_CHARSETS = frozenset({"iso-8859-1", "latin-1", "windows-1252", "utf-16", "utf-16le", "utf-16be",
                       "utf-16-le", "utf-16-be", "utf-32", "utf-32le", "utf-32be"})  # fmt: skip

_BOM = b"\xef\xbb\xbf"


def is_json(kind: str) -> bool:
    """Whether a body of this media type, in lower case and without parameters, is JSON."""
    return kind in _TYPES or kind.endswith("+json")


def behind_bom(body: bytes | memoryview) -> memoryview | None:
    """Return what comes behind a byte order mark; None if there is none."""
    view = memoryview(body)
    return view[3:] if bytes(view[:3]) == _BOM else None


def as_utf8(body: bytes | memoryview, charset: str) -> bytes | memoryview:
    """Return the text of a body as UTF-8.

    Args:
        body: The body.
        charset: Parameter of its media type in lower case; empty for UTF-8.

    Raises:
        UnsupportedMedia: The charset is not known.
        MalformedBody: The body is not in it.
    """
    if charset in UTF8:
        return body
    if charset not in _CHARSETS:
        raise UnsupportedMedia(
            f"The charset {charset[:40]!r} is not known.", hint="Send JSON in UTF-8."
        )
    try:
        return bytes(body).decode(charset).removeprefix("\ufeff").encode("utf-8")
    except UnicodeError as error:
        raise MalformedBody(f"The body is not {charset}: {error}.") from None
