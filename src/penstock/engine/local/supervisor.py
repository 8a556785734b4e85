"""Keeps the replicas of one version alive.

A replica that dies is replaced at once. Replicas that die again and again without having answered
anything, or do not load, are replaced after 1 s, 2 s, 4 s … up to a minute, and callers are told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from penstock.core.errors import EngineError, PenstockError
from penstock.engine.base import VersionKey
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


class Supervisor:
    """Runs as many replicas as the version asks for, each in a place of its own."""

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
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self.replicas: list[Replica] = []
        self.restarts = 0

    async def start(self, count: int) -> None:
        """Start `count` replicas; return when the first is ready.

        Raises:
            EngineError: The first one did not load. Nothing is left running.
        """
        first = self._new()
        try:
            await self._begin(first)
        except BaseException:
            await self._discard(first)
            raise
        self._tasks = [asyncio.create_task(self._keep(first))]
        self._tasks += [asyncio.create_task(self._keep(None)) for _ in range(count - 1)]

    async def stop(self) -> None:
        """Replace nobody any more, and end all replicas."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._leaving, return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        self.replicas.clear()

    def _new(self) -> Replica:
        replica = self._make()
        self.replicas.append(replica)
        return replica

    async def _begin(self, replica: Replica) -> None:
        await replica.start()
        self._dispatcher.refuse(None)
        self._dispatcher.add(replica)

    async def _discard(self, replica: Replica) -> None:
        await replica.stop()
        if replica in self.replicas:
            self.replicas.remove(replica)

    async def _keep(self, replica: Replica | None) -> None:
        """Keep one place filled; `replica`, if given, is ready."""
        failed = 0
        while True:
            reason = ""
            if replica is None:
                replica = self._new()
                try:
                    await self._begin(replica)
                except EngineError as error:
                    reason = error.message
                except Exception as error:  # noqa: BLE001 - the place must not stay empty
                    _log.exception("A replica of %s could not be started.", self._key)
                    reason = f"{type(error).__name__}: {error}."
            if not reason:
                await replica.died.wait()
                reason = f"its process ended ({replica.exit})."
                if _did_well(replica):
                    failed = -1
            failed += 1
            leaving = asyncio.create_task(self._discard(replica))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            replica = None
            self.restarts += 1
            await self._pause(failed, reason)

    async def _pause(self, failed: int, reason: str) -> None:
        wait_s = back_off_s(failed)
        _log.warning("A replica of %s ended: %s Next start in %g s.", self._key, reason, wait_s)
        if failed >= _REFUSE_AFTER and not self._dispatcher.ready:
            lines = self._tail.lines()

            def why() -> PenstockError:
                return failures.crash_looping(self._key, failed, reason, wait_s, lines)

            self._dispatcher.refuse(why)
        await asyncio.sleep(wait_s)


def _did_well(replica: Replica) -> bool:
    return replica.calls > 0 or time.monotonic() - replica.ready_at > _SETTLED_S
