"""A worker's side of the memory that runs share: reading, publishing and atomic changes.

`MemorySpace` turns values into bytes and back and asks a transport (`ask`), which is the server's
memory socket in a worker and `penstock.flow.local_memory` elsewhere. Values that were read stay
here as bytes with their stamp, so that an unchanged value does not travel again.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cloudpickle

from penstock.codec.memory import (
    MOST_WRITES,
    REQUEST_LIMIT,
    Done,
    Increment,
    Lost,
    Missing,
    Publish,
    Read,
    Refused,
    Swap,
    Unchanged,
    Upload,
    Uploaded,
    Value,
    WorkerAnswer,
    WorkerRequest,
    Write,
    bytes_of,
)
from penstock.core.errors import Conflict, InternalError, MemoryQuotaExceeded, from_dict

Ask = Callable[[WorkerRequest], WorkerAnswer]

#: Stands for "there is no such name"; None is a value like any other.
MISSING: Final = object()

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_CACHE_BYTES = 64 * 1024 * 1024
_CACHE_ITEM_BYTES = 4 * 1024 * 1024
_ATTEMPTS = 10_000


class _Held(NamedTuple):
    """A value as the store gave it."""

    stamp: int
    value: bytes | None
    number: int | float | None


class MemorySpace:
    """The memory of one deployment and its project, as one process sees it; for any thread.

    Attributes:
        given: What the flow's `setup` functions returned, by name: this process's own objects.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.given: dict[str, Any] = {}
        self._givers: dict[str, str] = {}
        self._held: dict[tuple[str, str], _Held] = {}
        self._held_bytes = 0
        self._keeping = threading.Lock()

    def beside(self) -> MemorySpace:
        """Return the same memory for another flow, which has been given nothing yet."""
        return MemorySpace(self._ask)

    def give(self, name: str, value: Any, giver: str) -> None:
        """Keep an object for `get(name)` in this process; `giver` says in words who gave it."""
        self.given[name] = value
        self._givers[name] = giver

    def check_not_given(self, name: str, act: str) -> None:
        """Raise `ValueError` if runs would not see a change of this name."""
        if name in self.given:
            raise ValueError(
                f"{act}({name!r}): {self._givers[name]} returned {name!r}, which get({name!r}) "
                'goes on returning; take another name, or scope="run" for this run only'
            )

    def read(self, scope: str, name: str) -> Any:
        """Return the value, a fresh object each time, or `MISSING`."""
        held = self._read(scope, name)
        return MISSING if held is None else _unpack(held)

    def increment(self, scope: str, name: str, by: float, ttl: float | None) -> int | float:
        """Add to a number for everybody at once and return it; a missing name counts as 0.

        Raises:
            TypeError: The name holds a value that is not a number.
        """
        self._forget(scope, name)
        try:
            answer = self._send(Increment(scope, name, by, ttl))
        except Conflict:
            # It was written by `save`: the store holds bytes and cannot add to them.
            return self.update(scope, name, lambda value: _added(name, value, by), MISSING, ttl)  # type: ignore[no-any-return]
        if not isinstance(answer, Value) or answer.number is None:
            raise _unexpected(answer)
        return answer.number

    def update(
        self,
        scope: str,
        name: str,
        function: Callable[[Any], Any],
        default: Any,
        ttl: float | None,
    ) -> Any:
        """Replace the value by `function(value)` with no other change in between; return it.

        Raises:
            NameError: There is no such name and no default.
            MemoryQuotaExceeded: The new value is too large, or the memory is full.
        """
        for _ in range(_ATTEMPTS):
            held = self._read(scope, name)
            old = default if held is None else _unpack(held)
            if old is MISSING:
                raise not_found(name)
            new = function(old)
            stamp, packed = 0 if held is None else held.stamp, pack(new)
            _check_size([Write(scope, name, packed)])
            answer = self._send(Swap(scope, name, stamp, packed, ttl))
            self._forget(scope, name)
            if isinstance(answer, Done):
                return new
            if not isinstance(answer, Lost):
                raise _unexpected(answer)
        raise Conflict(
            f"memory.update({name!r}) lost against other runs {_ATTEMPTS} times.",
            hint="Use memory.incr for counters, or make the function faster.",
        )

    def publish(self, writes: list[Write]) -> None:
        """Write everything in one transaction. Returns when it is durable.

        Raises:
            MemoryQuotaExceeded: A value is too large, the memory is full, or they are too many at
                once; nothing was written.
        """
        if len(writes) > MOST_WRITES:
            raise MemoryQuotaExceeded(
                f"{len(writes)} names are saved at once; at most {MOST_WRITES} may be.",
                hint="Save fewer, larger values.",
            )
        _check_size(writes)
        answer = self._send(Publish(writes))
        if not isinstance(answer, Done):
            raise _unexpected(answer)
        for write in writes:
            self._forget(write.scope, write.name)

    def upload(self, request: Upload) -> str | None:
        """Store a file and return its address; None where there is no server to store it.

        Raises:
            UploadFailed: The server refuses the file.
        """
        answer = self._send(request)
        if isinstance(answer, Missing):
            return None
        if not isinstance(answer, Uploaded):
            raise _unexpected(answer)
        return answer.url

    def _read(self, scope: str, name: str) -> _Held | None:
        known = self._held.get((scope, name))
        answer = self._send(Read(scope, name, known.stamp if known else 0))
        if isinstance(answer, Unchanged) and known is not None:
            return known
        self._forget(scope, name)
        if isinstance(answer, Missing):
            return None
        if not isinstance(answer, Value):
            raise _unexpected(answer)
        held = _Held(answer.stamp, answer.value, answer.number)
        self._keep((scope, name), held)
        return held

    def _send(self, request: WorkerRequest) -> WorkerAnswer:
        answer = self._ask(request)
        if isinstance(answer, Refused):
            raise from_dict(answer.error)
        return answer

    def _keep(self, key: tuple[str, str], held: _Held) -> None:
        size = len(held.value or b"")
        if size > _CACHE_ITEM_BYTES:
            return
        with self._keeping:
            if self._held_bytes + size > _CACHE_BYTES or len(self._held) > 10_000:
                self._held.clear()
                self._held_bytes = 0
            self._drop(key)
            self._held[key] = held
            self._held_bytes += size

    def _forget(self, scope: str, name: str) -> None:
        with self._keeping:
            self._drop((scope, name))

    def _drop(self, key: tuple[str, str]) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._held_bytes -= len(held.value or b"")


def pack(value: Any) -> bytes:
    """Return a value as bytes, classes and functions of the user's own files by value."""
    if type(value) in _PLAIN:
        return pickle.dumps(value, protocol=5)
    return bytes(cloudpickle.dumps(value, protocol=5))


def pack_or_none(name: str, value: Any) -> bytes | None:
    """Return a value as bytes; None, with a line in the log, if it cannot leave its run."""
    try:
        return pack(value)
    except Exception as error:  # noqa: BLE001 - anything may come out of a user's __reduce__
        print(  # noqa: T201 - the worker's standard error is the deployment's log
            f"penstock: save({name!r}): a {type(value).__name__} cannot be kept after its run "
            f"({type(error).__name__}: {error}). Only this run can get it; write "
            f'save({name!r}, …, scope="run") if that is meant.',
            file=sys.stderr,
        )
        return None


def not_found(name: str) -> NameError:
    """Return the error for a name that nobody saved."""
    return NameError(f"{name!r} not found in memory")


def _check_size(writes: list[Write]) -> None:
    """Raise `MemoryQuotaExceeded` for what does not fit in one request: no server takes it."""
    size = bytes_of(writes)
    if size > REQUEST_LIMIT:
        largest = max(writes, key=lambda write: len(write.value or b""))
        raise MemoryQuotaExceeded(
            f"{size} bytes are saved at once, {len(largest.value or b'')} of them as "
            f"{largest.name[:100]!r}; at most {REQUEST_LIMIT} may be.",
            hint="Save something smaller, or save it in several runs.",
        )


def _unpack(held: _Held) -> Any:
    if held.value is None:
        return held.number
    return pickle.loads(held.value)


def _added(name: str, value: Any, by: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"memory.incr({name!r}): the value is a {type(value).__name__}")
    return value + by


def _unexpected(answer: object) -> InternalError:
    return InternalError(f"The memory store gave a {type(answer).__name__} for an answer.")
