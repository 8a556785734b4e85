"""Keeps secrets and keys out of logs, tracebacks and error messages.

Each process has one `HIDDEN`: the server process and the workers add the secrets they come to know.
`PenstockError.to_dict`, the server's log formatter and the worker's log pipe send their texts
through it. API keys, webhook secrets and credentials in URLs are known by their form, so they need
not be added.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

MASK = "***"

#: Shorter secrets are not looked for: their text is found everywhere.
SHORTEST = 6

#: Shorter lines of a secret of several lines are not looked for.
_SHORTEST_LINE = 12

#: An API key: its prefix is public, what follows is not. A webhook's signing secret. The user of a
#: URL, who may have a password. What a URL's query calls a token, key, secret or signature.
_BY_FORM = (
    rb"(pk_[a-z]_[0-9a-f]{8}_)[A-Za-z0-9_-]{32}|(whsec_)[A-Za-z0-9+/=]{16,}"
    rb"|(://)[^\s/@\"'<>\\]+(?=@)"
    rb"|([?&](?i:[\w.-]*(?:token|key|secret|password|passwd|signature|sig)=))[^\s&#\"'<>\\]+"
)


#: What is in everything that the forms above match.
_MARKS = (b"pk_", b"whsec_", b"://", b"?", b"&")

#: So many texts are looked for one by one.
_FEW = 40


class Redactor:
    """Replaces secrets in texts by `***`.

    A secret is found as it is, as JSON and Python write it, in URLs and in base64; one of several
    lines is found line by line too.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: set[bytes] = set()
        self._pattern = re.compile(_BY_FORM)
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these secrets from now on."""
        new = {form for value in values for form in _forms(value)} - self._forms
        if not new:
            return
        self._forms |= new
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        literals = b"|".join(re.escape(form) for form in longest_first)
        self._pattern = re.compile(_BY_FORM + b"|" + literals)

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """Return `data` without secrets."""
        # Nearly no line has any of this, and to look for it is much quicker than the pattern.
        if len(self._forms) <= _FEW and not any(mark in data for mark in (*_MARKS, *self._forms)):
            return data
        return self._pattern.sub(_masked, data)

    def cut(self, data: bytes, limit: int) -> bytes:
        """Return `data` without secrets, cut at `limit` bytes but not inside a secret."""
        shown = self.data(data)
        if len(shown) <= limit:
            return shown
        shown = shown[:limit]
        for form in self._forms:
            for size in range(min(len(form) - 1, len(shown)), 2, -1):
                if shown.endswith(form[:size]):
                    return shown[:-size]
        return shown


def _masked(found: re.Match[bytes]) -> bytes:
    shown: bytes = next(filter(None, found.groups()), b"")
    return shown + MASK.encode("ascii")


def _forms(value: str) -> Iterator[bytes]:
    """Yield what a secret looks like in texts."""
    if len(value) < SHORTEST:
        return
    raw = value.encode("utf-8", "surrogatepass")
    lines = value.splitlines() if "\n" in value or "\r" in value else []
    for text in {value, *(line for line in lines if len(line) >= _SHORTEST_LINE)}:
        yield text.encode("utf-8", "surrogatepass")
        yield json.dumps(text)[1:-1].encode("ascii")
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
        yield repr(text)[1:-1].encode("utf-8", "surrogatepass")
        yield quote(text.encode("utf-8", "surrogatepass"), safe="").encode("ascii")
    yield base64.b64encode(raw)
    yield base64.urlsafe_b64encode(raw)


#: What this process hides.
HIDDEN = Redactor()


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return HIDDEN.text(super().format(record))
