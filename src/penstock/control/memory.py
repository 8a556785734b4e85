"""Answers what workers ask about memory: whose namespace, how long, how much, what went wrong.

The engine calls `Memory.answer` for every message on a worker's memory socket. Values are opaque
bytes here: this process never unpickles one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from penstock.codec.memory import (
    DEPLOYMENT,
    PROJECT,
    Done,
    Increment,
    Lost,
    MemoryAnswer,
    MemoryRequest,
    Missing,
    Publish,
    Read,
    Refused,
    Swap,
    Unchanged,
    Value,
    Write,
)
from penstock.control.database import Database
from penstock.core.errors import InternalError, InvalidSetting, PenstockError
from penstock.engine.base import VersionKey
from penstock.stores.base import MemoryItem, MemoryWrite, Namespace

log = logging.getLogger("penstock.memory")


class Memory:
    """The memory of all deployments and projects. Every method runs on the event loop.

    Args:
        database: Where values are kept.
        now: Clock, seconds since the epoch.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._store = database.memory
        self._now = now

    async def answer(self, key: VersionKey, request: MemoryRequest) -> MemoryAnswer:
        """Answer a worker of version `key`; whatever goes wrong is answered as `Refused`.

        A worker reaches the memory of its own deployment and of its own project, nothing else.
        """
        try:
            return await self._answer(key, request)
        except PenstockError as error:
            return Refused(error.to_dict())
        except Exception:
            log.exception("A memory request of %s failed.", key)
            return Refused(InternalError("The server could not use its memory.").to_dict())

    async def _answer(self, key: VersionKey, request: MemoryRequest) -> MemoryAnswer:
        if isinstance(request, Read):
            return await self._read(key, request)
        if isinstance(request, Publish):
            return await self._publish(key, request)
        if isinstance(request, Increment):
            return await self._increment(key, request)
        return await self._swap(key, request)

    async def _read(self, key: VersionKey, request: Read) -> MemoryAnswer:
        namespace, now = _namespace(key, request.scope), self._now()
        item = self._store.peek(namespace, request.name, now)
        if item is None:
            item = await self._database.call_memory(self._store.read, namespace, request.name, now)
        if item is None:
            return Missing()
        return Unchanged() if item.stamp == request.known_stamp else _value(item)

    async def _publish(self, key: VersionKey, request: Publish) -> MemoryAnswer:
        now = self._now()
        groups: dict[Namespace, list[MemoryWrite]] = {}
        for write in request.writes:
            group = groups.setdefault(_namespace(key, write.scope), [])
            group.append(_stored(write, now))
        if not groups:
            return Done()
        publish = self._store.publish_all
        return Done(await self._database.call_memory(publish, list(groups.items()), now))

    async def _increment(self, key: VersionKey, request: Increment) -> MemoryAnswer:
        namespace, now = _namespace(key, request.scope), self._now()
        item = await self._database.call_memory(
            self._store.increment,
            namespace,
            request.name,
            request.by,
            now,
            _expiry(request.ttl_s, now),
        )
        return _value(item)

    async def _swap(self, key: VersionKey, request: Swap) -> MemoryAnswer:
        namespace, now = _namespace(key, request.scope), self._now()
        stamp = await self._database.call_memory(
            self._store.swap,
            namespace,
            request.name,
            request.expected_stamp,
            request.value,
            now,
            _expiry(request.ttl_s, now),
        )
        return Lost() if stamp is None else Done(stamp)

    async def forget(self, project: str, deployment: str) -> None:
        """Forget the memory of a deployment; the project's own memory stays."""
        await self._database.call_memory(self._store.clear, (project, deployment))

    async def purge(self) -> int:
        """Delete what has expired; return how many names. Wiring calls it now and then."""
        return await self._database.call_memory(self._store.purge, self._now())


def _namespace(key: VersionKey, scope: str) -> Namespace:
    if scope == DEPLOYMENT:
        return (key.project, key.deployment)
    if scope == PROJECT:
        return (key.project, "")
    raise InvalidSetting(
        f"{scope!r} is not a memory scope.", hint=f"Use {DEPLOYMENT!r} or {PROJECT!r}."
    )


def _stored(write: Write, now: float) -> MemoryWrite:
    return MemoryWrite(write.name, write.value, _expiry(write.ttl_s, now))


def _expiry(ttl_s: float | None, now: float) -> float | None:
    """Return when a value written now expires. Raises `InvalidSetting` unless the ttl is > 0."""
    if ttl_s is None:
        return None
    if not ttl_s > 0:
        raise InvalidSetting(
            f"A ttl of {ttl_s} seconds is not above 0.", hint="Use delete to remove a value."
        )
    return now + ttl_s


def _value(item: MemoryItem) -> Value:
    return Value(item.stamp, item.value, item.number)
