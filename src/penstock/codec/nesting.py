"""How deep the JSON of a caller may be nested: checked after it was parsed, by its brackets.

`limit_nesting` is called once, when a worker loads a version; `payload` and `oip` then call
`check_nesting` for every body. Few brackets cannot be deep, and are only counted.
"""

from __future__ import annotations

import re

from penstock.core.errors import MalformedBody

#: As deep as a result may be; a body of so few bytes needs no look.
DEFAULT = 200

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_ALIKE = bytes.maketrans(b"{}", b"[]")

_most = [DEFAULT]


def limit_nesting(levels: int) -> None:
    """Let bodies have so many levels of lists and objects, at least 1."""
    _most[0] = levels


def check_nesting(body: bytes | memoryview, what: str = "The body") -> None:
    """Look whether a body that is valid JSON is nested too deeply.

    Raises:
        MalformedBody: It has more levels than `limit_nesting` allows.
    """
    most = _most[0]
    if len(body) <= most:
        return
    raw = bytes(body)
    if raw.count(b"[") + raw.count(b"{") <= most:
        return
    if b'"' in raw:
        raw = _STRINGS.sub(b"", raw)
    left = raw.translate(_ALIKE, _NO_BRACKETS)
    for _ in range(most):  # each round takes the innermost level away
        left = left.replace(b"[]", b"")
        if not left:
            return
    raise MalformedBody(
        f"{what} is nested deeper than {most} levels.",
        hint="Send flatter data, or raise the server's setting max_nesting.",
    )
