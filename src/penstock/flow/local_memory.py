"""The memory store of one process, for local runs and for tries outside a run.

Answers the same requests as the server's store, with the same meaning, from a dict. Nothing
survives the process.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from penstock.codec.memory import (
    AskSecrets,
    Done,
    Increment,
    Lost,
    MemoryAnswer,
    Missing,
    Publish,
    Read,
    Refused,
    Swap,
    Unchanged,
    Upload,
    Value,
    WorkerRequest,
    Write,
)
from penstock.core.errors import Conflict


class _Item(NamedTuple):
    stamp: int
    value: bytes | None
    number: int | float | None
    expires_at: float | None


class LocalMemory:
    """A memory store in this process. `ask` may be called by several threads."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], _Item] = {}
        self._stamp = 0
        self._lock = threading.Lock()

    def ask(self, request: WorkerRequest) -> MemoryAnswer:
        """Answer one request. Files and secrets are not kept here: those are `Missing`."""
        if isinstance(request, (Upload, AskSecrets)):
            return Missing()
        with self._lock:
            if isinstance(request, Read):
                return self._read(request)
            if isinstance(request, Publish):
                return self._publish(request.writes)
            if isinstance(request, Increment):
                return self._increment(request)
            return self._swap(request)

    def _item(self, scope: str, name: str) -> _Item | None:
        item = self._items.get((scope, name))
        if item is not None and item.expires_at is not None and item.expires_at <= time.monotonic():
            del self._items[scope, name]
            return None
        return item

    def _put(
        self,
        scope: str,
        name: str,
        value: bytes | None,
        number: int | float | None,
        ttl_s: float | None,
    ) -> int:
        self._stamp += 1
        expires_at = None if ttl_s is None else time.monotonic() + ttl_s
        self._items[scope, name] = _Item(self._stamp, value, number, expires_at)
        return self._stamp

    def _read(self, request: Read) -> MemoryAnswer:
        item = self._item(request.scope, request.name)
        if item is None:
            return Missing()
        if item.stamp == request.known_stamp:
            return Unchanged()
        return Value(item.stamp, item.value, item.number)

    def _publish(self, writes: list[Write]) -> MemoryAnswer:
        for write in writes:
            if write.value is None:
                self._items.pop((write.scope, write.name), None)
            else:
                self._put(write.scope, write.name, write.value, None, write.ttl_s)
        return Done(self._stamp)

    def _increment(self, request: Increment) -> MemoryAnswer:
        item = self._item(request.scope, request.name)
        if item is not None and item.number is None:
            error = Conflict(f"{request.name!r} holds a value that is not a number.")
            return Refused(error.to_dict())
        number = (0 if item is None or item.number is None else item.number) + request.by
        stamp = self._put(request.scope, request.name, None, number, request.ttl_s)
        return Value(stamp, None, number)

    def _swap(self, request: Swap) -> MemoryAnswer:
        item = self._item(request.scope, request.name)
        if (0 if item is None else item.stamp) != request.expected_stamp:
            return Lost()
        return Done(self._put(request.scope, request.name, request.value, None, request.ttl_s))
