"""Reads header values with parameters: `form-data; name="files"; filename="a.png"`.

Called by `payload` for a request's media type and by `multipart` for the headers of each part.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from penstock.core.errors import MalformedBody

_PARAMETER = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"[ \t]*|[^;]*)')
_ESCAPED = re.compile(r'\\(["\\])')
# Browsers write these three characters so inside a quoted name (WHATWG form-data rules).
_PERCENT = {"%22": '"', "%0D": "\r", "%0A": "\n", "%0d": "\r", "%0a": "\n"}
_PERCENT_WRITTEN = re.compile("%22|%0[DdAa]")
_EXTENDED_CHARSETS = ("utf-8", "iso-8859-1")


def split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return a header value and its parameters.

    Args:
        value: For example `text/plain; charset="utf-8"`.

    Returns:
        The value in lower case, and the parameters with lower-case names and unquoted values.

    Raises:
        MalformedBody: A parameter is given twice or cannot be read.
    """
    first, semicolon, _ = value.partition(";")
    found: dict[str, str] = {}
    at = len(first)
    end = len(value) if semicolon else at
    while at < end and value[at:].strip("; \t"):
        match = _PARAMETER.match(value, at)
        if match is None:
            raise MalformedBody(f"The header value {_short(value)} cannot be read.")
        name = match[1].lower()
        if name in found:
            raise MalformedBody(f"The header value {_short(value)} has {name!r} twice.")
        found[name] = _unquote(match[2].strip())
        at = match.end()
    return first.strip().lower(), found


def percent_decoded(text: str) -> str:
    """Return `text` with the quote and line-end characters that browsers write as `%22` etc."""
    return _PERCENT_WRITTEN.sub(lambda found: _PERCENT[found[0]], text)


def extended_value(text: str) -> str:
    """Return the text of an extended parameter (`filename*=UTF-8''na%C3%AFve.png`; RFC 5987).

    Raises:
        MalformedBody: It has not three parts, or another charset than UTF-8 and ISO-8859-1.
    """
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or charset.lower() not in _EXTENDED_CHARSETS:
        raise MalformedBody(
            f"The extended file name {_short(text)} cannot be read.",
            hint="Write it as filename*=UTF-8''name with percent-encoded bytes.",
        )
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeDecodeError:
        raise MalformedBody(f"The extended file name {_short(text)} is not {charset}.") from None


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        # Only quotes and backslashes are escaped; other backslashes belong to Windows paths.
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
