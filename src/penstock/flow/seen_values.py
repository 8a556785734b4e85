"""What the names on the line that failed held, in short texts, for the page of a failed run.

Only the function's own names, and only values whose text is safe to make: numbers, texts and the
containers of them as they are, up to a length; of an array its type and shape; of anything else
its type. No code of the user's is called.
"""

from __future__ import annotations

import dis
from reprlib import Repr
from types import CodeType, FrameType
from typing import Any

from penstock.core.redaction import HIDDEN

#: Most names that are told of.
_MOST = 6

#: Most characters of a value, and of a text or bytes that are looked at for it.
_LENGTH, _READ = 120, 10_000

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
#: Libraries whose arrays tell their shape.
_ARRAYS = frozenset({"numpy", "torch", "pandas"})

_CONTAINERS = (dict, list, tuple, set, frozenset)


class _Short(Repr):
    """Texts of plain values and of containers of them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlong = 3, 8, 40
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxother = _LENGTH

    def repr1(self, x: Any, level: int) -> str:
        kind = type(x)
        if kind in _PLAIN or kind in _CONTAINERS:
            return super().repr1(x, level)
        return _form(x)

    def repr_str(self, x: str, _level: int) -> str:
        """Return the beginning; secrets are hidden first, as half of one would not be known."""
        shown = HIDDEN.text(x[:_READ])
        return repr(shown) if len(shown) <= _LENGTH else repr(shown[:_LENGTH]) + "..."

    def repr_bytes(self, x: bytes, _level: int) -> str:
        """Return the beginning, likewise."""
        shown = HIDDEN.data(x[:_READ])
        return repr(shown) if len(shown) <= _LENGTH else repr(shown[:_LENGTH]) + "..."

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Return the items in their order; the base sorts them."""
        if level <= 0:
            return "{...}"
        told = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in list(x.items())[: self.maxdict]
        ]
        return "{" + ", ".join([*told, "..."] if len(x) > self.maxdict else told) + "}"


_SHORT = _Short()


def values_on_line(frame: FrameType, line: int) -> dict[str, str]:
    """Return the values of the local names that a line uses, in the order it uses them.

    Args:
        frame: The frame of the function that failed.
        line: The line it failed in.
    """
    held = frame.f_locals
    found: dict[str, str] = {}
    for name in _names_on(frame.f_code, line):
        if name in held and name not in found and not name.startswith("."):
            found[name] = _text(held[name])
        if len(found) == _MOST:
            break
    return found


def _names_on(code: CodeType, line: int) -> list[str]:
    """Return the local and enclosing names of the line's instructions."""
    places = [(start, end) for start, end, at in code.co_lines() if at == line]
    names: list[str] = []
    for step in dis.get_instructions(code):
        known = step.opcode in dis.haslocal or step.opcode in dis.hasfree
        if known and any(start <= step.offset < end for start, end in places):
            told = step.argval
            names += told if isinstance(told, tuple) else [told]  # one step may name two
    return names


def _text(value: Any) -> str:
    try:
        text = _SHORT.repr(value)
    except Exception:  # noqa: BLE001 - a value that says nothing must not hide the error itself
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + "..."


def _form(value: Any) -> str:
    """Return the type of what is no plain value, of an array with its shape."""
    kind = type(value)
    name, library = kind.__name__, kind.__module__.partition(".")[0]
    if library not in _ARRAYS:
        return f"<{name}>"
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"<{name}>"
    if not shape and library != "pandas":
        return repr(value)[:_LENGTH]
    dtype = str(value.dtype).rpartition(".")[2] + " " if library != "pandas" else ""
    return f"<{name} {dtype}[{', '.join(str(int(size)) for size in shape)}]>"
