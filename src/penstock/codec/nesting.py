"""How deep the JSON of a caller may be nested: checked after it was parsed, by its brackets.

`limit_nesting` is called once, when a worker loads a version; `payload` and `oip` then call
`check_nesting` for every body. Few brackets cannot be deep, and are only counted.
"""

from __future__ import annotations

import re

from penstock.core.errors import MalformedBody

#: As deep as a result may be.
DEFAULT = 200

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OTHERS = bytes(code for code in range(256) if code not in b'[]{}"\\')
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
    if len(body) <= 2 * most:  # a level opens and closes
        return
    raw = bytes(body)
    if _has_at_most(raw, most):
        return
    left = _brackets(raw)
    for _ in range(most):  # each round takes the innermost level away
        left = left.replace(b"[]", b"")
        if not left:
            return
    raise MalformedBody(
        f"{what} is nested deeper than {most} levels.",
        hint="Send flatter data, or raise the server's setting max_nesting.",
    )


def _has_at_most(raw: bytes, most: int) -> bool:
    """Whether there are no more opening brackets; quicker than to count all of them."""
    left = most
    for bracket in (b"[", b"{"):
        at = raw.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return False
            at = raw.find(bracket, at + 1)
    return True


def _brackets(raw: bytes) -> bytes:
    """Return the brackets of valid JSON, those in texts left out, all as square ones."""
    left = raw.translate(_ALIKE, _OTHERS)
    if b'"' in left:
        # A text without brackets is two quotes now. One with brackets leaves its first quote.
        left = left.replace(b'""', b"")
        if b'"' in left or b"\\" in left:
            left = _STRINGS.sub(b"", raw).translate(_ALIKE, _OTHERS)
    return left
