"""How large the values are that travel with a function, and which of them cannot travel.

Called by `penstock.codec.functions.pack_function` before the function itself is pickled, so that
the error names a variable and a large value is never held twice.
"""

from __future__ import annotations

import io
import marshal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from penstock.codec.bundle import Captured
from penstock.codec.pickler import FunctionPickler
from penstock.core.errors import CaptureNotPicklable, CaptureTooLarge

MIB = 1024 * 1024
WARN_BYTES = 1 * MIB
LIMIT_BYTES = 32 * MIB

#: Counting stops here: such a value is refused however much larger it is.
_COUNT_AT_MOST = 512 * MIB


@dataclass(frozen=True)
class Where:
    """The function being packed, for messages."""

    stage: int
    role: str

    def __str__(self) -> str:
        return f"`{self.role}` of stage {self.stage}"


@dataclass(frozen=True)
class Refused:
    """A captured value that cannot be pickled, and why."""

    name: str
    type: str
    cause: Exception


class _Enough(Exception):
    """More than `_COUNT_AT_MOST` bytes were counted."""


class _Counter(io.RawIOBase):
    """A file that only counts. Large buffers are passed through it without being copied."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.add(memoryview(data).nbytes)
        return memoryview(data).nbytes

    def add(self, size: int) -> None:
        self.size += size
        if self.size > _COUNT_AT_MOST:
            raise _Enough

    def buffer(self, data: Any) -> None:
        self.add(data.raw().nbytes)


def measure(
    values: Iterable[tuple[str, Any]], where: Where
) -> tuple[list[Captured], list[Refused]]:
    """Return each value's name, type and pickled size in bytes, and those that have none.

    A value with several names is counted once. For functions and classes the size is that of
    their own code; what they use is listed by itself.

    Raises:
        CaptureTooLarge: Together they are over 32 MiB; names the largest.
    """
    once = list({id(value): (name, value) for name, value in reversed(list(values))}.values())
    once.reverse()
    sizes: dict[int, int] = {}
    refused: list[Refused] = []
    meter = _Meter()
    for name, value in sorted(once, key=_simplest_first):
        try:
            sizes[id(value)] = meter.size_of(value)
        except Exception as error:  # noqa: BLE001, PERF203 - a reducer may raise anything
            refused.append(Refused(name, type_name(value), error))
    found = [Captured(n, type_name(v), sizes[id(v)]) for n, v in once if id(v) in sizes]
    check_total(found, sum(captured.size for captured in found), where)
    return found, refused


def not_picklable(
    refused: Sequence[Refused], cause: Exception, where: Where
) -> CaptureNotPicklable:
    """Return the error for a function that cannot travel, naming the first culprit if known."""
    if not refused:
        return CaptureNotPicklable(
            f"{where} cannot be sent to a server: {_first_line(cause)}.",
            stage=where.stage,
            function=where.role,
            hint="Build such an object inside the function, so that it is made on the server.",
        )
    return _culprit(refused[0], where)


def _culprit(refused: Refused, where: Where) -> CaptureNotPicklable:
    return CaptureNotPicklable(
        f"{where} uses `{refused.name}` ({refused.type}), which cannot be sent to a server: "
        f"{_first_line(refused.cause)}.",
        stage=where.stage,
        function=where.role,
        hint=f"Build `{refused.name}` inside the function, so that it is made on the server.",
        variable=refused.name,
        variable_type=refused.type,
    )


def size_text(size: int) -> str:
    """Return a number of bytes for people, as in `2.1 MiB`."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KiB" if size < MIB else f"{size / MIB:.1f} MiB"


def type_name(value: Any) -> str:
    """Return the type of `value` with its module, unless that is plain to see."""
    kind = type(value)
    module = kind.__module__
    hidden = module in {"builtins", "__main__"}
    return kind.__qualname__ if hidden else f"{module}.{kind.__qualname__}"


class _Meter:
    """Measures values one after another with one pickler, so that what they share counts once."""

    def __init__(self) -> None:
        self._counter = _Counter()
        self._pickler = FunctionPickler(self._counter, buffer_callback=self._counter.buffer)

    def size_of(self, value: Any) -> int:
        if isinstance(value, FunctionType):
            return len(marshal.dumps(value.__code__))
        if isinstance(value, type):
            members = [getattr(m, "__func__", m) for m in vars(value).values()]
            codes = [m.__code__ for m in members if isinstance(m, FunctionType)]
            return sum(len(marshal.dumps(code)) for code in codes)
        self._counter.size = 0
        try:
            self._pickler.dump(value)
        except _Enough:
            return _COUNT_AT_MOST
        return self._counter.size


def _simplest_first(item: tuple[str, Any]) -> int:
    """Data before containers before objects with code, so that a size is put to the right name."""
    value = item[1]
    if isinstance(value, (list, tuple, dict, set)):
        return 1
    return 2 if callable(value) or type(value).__module__ == "__main__" else 0


def check_total(found: list[Captured], total: int, where: Where) -> None:
    """Raise `CaptureTooLarge` naming the largest of `found` if `total` bytes are over the limit."""
    if total <= LIMIT_BYTES:
        return
    whole = Captured("the function itself", "function", total)
    biggest = max(found, key=lambda captured: captured.size, default=whole)
    more = "over " if biggest.size >= _COUNT_AT_MOST else ""
    raise CaptureTooLarge(
        f"{where} takes along {size_text(total)}; the limit is {size_text(LIMIT_BYTES)}. The "
        f"largest variable is `{biggest.name}` ({biggest.type}) with {more}"
        f"{size_text(biggest.size)}.",
        stage=where.stage,
        function=where.role,
        hint=f"Save `{biggest.name}` as a model file of a stage, or load it inside the function.",
        variable=biggest.name,
        size=biggest.size,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
