"""Keeps the replicas of one version alive, as many as are wanted.

A replica that dies is replaced at once. Replicas that die again and again without having answered
anything, or do not load, are replaced after 1 s, 2 s, 4 s … up to a minute, and callers are told.
A replica that is wanted no more answers what it holds first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from penstock.core.errors import EngineError, PenstockError
from penstock.engine.base import PoolHealth, VersionKey
from penstock.engine.local import failures
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.logs import LogTail
from penstock.engine.local.replica import Replica

_log = logging.getLogger(__name__)

#: A replica that lived this long, in seconds, did not die of its start.
_SETTLED_S = 10.0

#: After so many failures in a row callers are refused instead of kept waiting.
_REFUSE_AFTER = 3


def back_off_s(failed: int) -> float:
    """Return how long to wait before the next start after `failed` failures in a row."""
    return 0.0 if failed <= 1 else float(min(60, 2 ** min(failed - 2, 6)))


class _Place:
    """Where one replica after the other lives. `filled` is set while it has one that is ready."""

    def __init__(self, replica: Replica | None = None) -> None:
        self.replica = replica
        self.filled = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.swap: asyncio.Task[None] | None = None


class Supervisor:
    """Runs replicas, each in a place of its own.

    Attributes:
        health: What `Pool.health` returns.
        patient: Do not refuse calls while replicas die again and again: somebody moves them soon.
        replicas: All of them, those that are leaving too.
        restarts: How many replicas ended unasked.
        recycled: How many were replaced because of the memory they had taken.
    """

    def __init__(
        self,
        key: VersionKey,
        dispatcher: Dispatcher,
        tail: LogTail,
        make: Callable[[], Replica],
    ) -> None:
        self._key = key
        self._dispatcher = dispatcher
        self._tail = tail
        self._make = make
        self._places: list[_Place] = []
        self._extra: dict[_Place, _Place] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self.replicas: list[Replica] = []
        self.restarts = 0
        self.recycled = 0
        self.health = PoolHealth()
        self.patient = False

    @property
    def count(self) -> int:
        """How many replicas are wanted."""
        return len(self._places) - len(self._extra)

    @property
    def is_starting(self) -> bool:
        """Whether a replica is being started; not while all that are missing have failed."""
        return any(p.replica is not None and not p.filled.is_set() for p in self._places)

    async def start(self, count: int) -> None:
        """Start `count` replicas, 1 or more; return when the first is ready.

        Raises:
            EngineError: The first one did not load. Nothing is left running.
        """
        first = self._new()
        try:
            await self._begin(first)
        except BaseException:
            await self._discard(first)
            raise
        self._add_place(first)
        self.set_count(count)

    def set_count(self, count: int) -> None:
        """Have `count` replicas: start what is missing, let the youngest go."""
        while self.count < count:
            self._add_place(None)
        while self.count > count:
            self._give_up(self._least_missed())
        if not count:
            self.health = dataclasses.replace(self.health, next_start_at=0.0)
            self._dispatcher.refuse(None)

    def recycle(self, replica: Replica) -> bool:
        """Start a replacement, then let `replica` go; False if that is under way already."""
        place = next((p for p in self._places if p.replica is replica), None)
        if place is None or place in self._extra.values() or place in self._extra:
            return False
        self.recycled += 1
        fresh = self._add_place(None)
        self._extra[fresh] = place
        fresh.swap = self._run(self._aside, self._swap(fresh, place))
        return True

    async def _swap(self, fresh: _Place, place: _Place) -> None:
        try:
            await fresh.filled.wait()
        finally:
            self._extra.pop(fresh, None)
        if place in self._places:
            self._give_up(place)

    async def emptied(self) -> None:
        """Wait until the replicas that were let go have ended."""
        while self._aside or self._leaving:
            await asyncio.wait({*self._aside, *self._leaving})

    async def stop(self) -> None:
        """Replace nobody any more, and end all replicas."""
        keepers = [p.keeper for p in self._places if p.keeper is not None]
        for task in (*keepers, *self._aside):
            task.cancel()
        await asyncio.gather(*keepers, *self._aside, *self._leaving, return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        self.replicas.clear()
        self._places.clear()

    # --- places ---

    def _add_place(self, replica: Replica | None) -> _Place:
        place = _Place(replica)
        if replica is not None:
            place.filled.set()
        place.keeper = asyncio.create_task(self._keep(place))
        self._places.append(place)
        return place

    def _least_missed(self) -> _Place:
        """Return the youngest place whose replica is not ready, else the youngest of all."""
        free = [p for p in self._places if p not in self._extra and p not in self._extra.values()]
        places = free or self._places
        return next((p for p in reversed(places) if not p.filled.is_set()), places[-1])

    def _give_up(self, place: _Place) -> None:
        self._places.remove(place)
        if place.keeper is not None:
            place.keeper.cancel()
        if self._extra.pop(place, None) is not None and place.swap is not None:
            place.swap.cancel()  # it would wait for ever, and what it was to replace is kept
        replica = place.replica
        if replica is None:
            return
        if place.filled.is_set() and not replica.died.is_set():
            self._run(self._aside, self._retire(replica))
        else:
            self._run(self._leaving, self._discard(replica))

    async def _retire(self, replica: Replica) -> None:
        """Let a replica answer what it holds, however long its calls may take, then end it."""
        await self._dispatcher.withdraw(replica).wait()
        await self._discard(replica)

    def _run(
        self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    # --- replicas ---

    def _new(self) -> Replica:
        replica = self._make()
        self.replicas.append(replica)
        return replica

    async def _begin(self, replica: Replica) -> None:
        await replica.start()
        self.health = dataclasses.replace(self.health, next_start_at=0.0)
        self._dispatcher.refuse(None)
        self._dispatcher.add(replica)

    async def _discard(self, replica: Replica) -> None:
        await replica.stop()
        if replica in self.replicas:
            self.replicas.remove(replica)

    async def _keep(self, place: _Place) -> None:
        """Keep one place filled."""
        failed = 0
        while True:
            reason = ""
            if place.replica is None:
                reason = await self._fill(place)
            replica = place.replica
            assert replica is not None
            if not reason:
                await replica.died.wait()
                reason = f"its process ended ({replica.exit})."
                if _did_well(replica):
                    failed = -1
            failed += 1
            place.filled.clear()
            place.replica = None
            self._run(self._leaving, self._discard(replica))
            self.restarts += 1
            await self._pause(failed, reason)

    async def _fill(self, place: _Place) -> str:
        """Start a replica in a place; return why it did not start, if it did not."""
        place.replica = replica = self._new()
        try:
            await self._begin(replica)
        except EngineError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - the place must not stay empty
            _log.exception("A replica of %s could not be started.", self._key)
            return f"{type(error).__name__}: {error}."
        place.filled.set()
        return ""

    async def _pause(self, failed: int, reason: str) -> None:
        wait_s = back_off_s(failed)
        due = time.time() + wait_s
        self.health = PoolHealth(self.restarts, failed, due, reason)
        _log.warning("A replica of %s ended: %s Next start in %g s.", self._key, reason, wait_s)
        if failed >= _REFUSE_AFTER and not self._dispatcher.ready and not self.patient:
            lines = self._tail.lines()

            def why() -> PenstockError:
                return failures.crash_looping(self._key, failed, reason, wait_s, lines)

            self._dispatcher.refuse(why)
        await asyncio.sleep(wait_s)


def _did_well(replica: Replica) -> bool:
    return replica.calls > 0 or time.monotonic() - replica.ready_at > _SETTLED_S
