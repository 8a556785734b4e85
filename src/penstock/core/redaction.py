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
_MASK = MASK.encode("ascii")

#: Bytes of a secret at the end of a text that are taken for its beginning.
_BEGUN = 3

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


_PATTERN = re.compile(_BY_FORM)

#: What is in everything that the pattern matches: to look for it is much quicker.
_MARKS = (b"pk_", b"whsec_", b"://", b"?", b"&")

#: So many texts are looked for one by one; more are looked up by how they begin.
_FEW = 40

#: Bytes of all texts that are looked for; the oldest are forgotten.
_MOST_BYTES = 64 * 1024 * 1024


class Redactor:
    """Replaces secrets in texts by `***`.

    A secret is found as it is, as JSON and Python write it, in URLs and in base64; one of several
    lines is found line by line too. There may be many and long ones: nothing here takes longer than
    in proportion to what is added, or to the text.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: dict[bytes, None] = {}
        self._by_start: dict[bytes, list[bytes]] = {}
        self._size = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these secrets from now on."""
        for form in (form for value in values for form in _forms(value)):
            if form not in self._forms:
                self._forms[form] = None
                self._size += len(form)
                alike = self._by_start.setdefault(form[:SHORTEST], [])
                alike.append(form)
                alike.sort(key=len, reverse=True)
        while self._size > _MOST_BYTES:
            self._forget(next(iter(self._forms)))

    def _forget(self, form: bytes) -> None:
        del self._forms[form]
        self._size -= len(form)
        alike = self._by_start[form[:SHORTEST]]
        alike.remove(form)
        if not alike:
            del self._by_start[form[:SHORTEST]]

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """Return `data` without secrets."""
        parts: list[bytes] = []
        at = 0
        for start, end, shown in _apart(self._found(data)):
            parts += (data[at:start], shown)
            at = end
        return b"".join((*parts, data[at:])) if parts else data

    def _found(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield where secrets are, and what is shown in their place."""
        if any(mark in data for mark in _MARKS):
            for match in _PATTERN.finditer(data):
                yield match.start(), match.end(), _masked(match)
        forms: Iterable[bytes] = self._forms
        if len(self._forms) > _FEW:
            starts, size = self._by_start, len(data)
            begun = (data[at : at + SHORTEST] for at in range(size - SHORTEST + 1))
            forms = {form for start in begun if start in starts for form in starts[start]}
        for form in forms:
            at = data.find(form)
            while at >= 0:
                yield at, at + len(form), _MASK
                at = data.find(form, at + len(form))

    def cut(self, data: bytes, limit: int) -> bytes:
        """Return `data` without secrets, cut at `limit` bytes but not inside a secret."""
        shown = self.data(data)
        if len(shown) <= limit:
            return shown
        shown = shown[:limit]
        for form in self._forms:
            at = shown.find(form[:_BEGUN], max(0, len(shown) - len(form) + 1))
            while at >= 0:
                if form.startswith(shown[at:]):
                    return shown[:at]
                at = shown.find(form[:_BEGUN], at + 1)
        return shown


def _apart(found: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return the places in order; those that lap over each other become one."""
    kept: list[tuple[int, int, bytes]] = []
    for start, end, shown in sorted(found, key=lambda one: (one[0], -one[1], one[2] == _MASK)):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end, shown))
        elif end > kept[-1][1]:
            kept[-1] = (kept[-1][0], end, _MASK)
    return kept


def _masked(found: re.Match[bytes]) -> bytes:
    shown: bytes = next(filter(None, found.groups()), b"")
    return shown + _MASK


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
