"""Puts the processes of versions that have a memory limit into control groups of their own.

`template` and `replica` call `put` when a process is there and `take` when it is gone. Where the
server may make no groups nothing happens, and `memory_use` alone watches; it watches in any case,
to replace a worker before the kernel ends it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from penstock.engine.local.family import family
from penstock.engine.sandbox.cgroups import PREFIX, Controllers, Group

_log = logging.getLogger(__name__)

#: Times the limit at which the kernel ends the worker; it is replaced before, between calls.
_HARD = 1.5

#: Seconds that the last processes of a group get to end.
_END_S = 2.0

#: Processes and threads of one worker.
_PROCESSES = 4096

#: Tries to remove a group, and seconds between them.
_TRIES, _PAUSE_S = 50, 0.02


class Fences:
    """The groups of an engine's workers.

    Args:
        controllers: Where groups are made; None: nowhere.
    """

    def __init__(self, controllers: Controllers | None = None) -> None:
        self._controllers = controllers
        self._groups: dict[int, Group] = {}
        self._limits: dict[int, int] = {}
        self._number = 0

    async def put(self, pid: int, limit_bytes: int | None) -> None:
        """Put a process, and what it has started, into a group; one that has its own stays.

        The kernel may take ten milliseconds, so a thread does it.
        """
        if self._controllers is None or not limit_bytes or not pid:
            return
        self._limits[pid] = limit_bytes
        await asyncio.to_thread(self._put, self._controllers, pid, int(_HARD * limit_bytes))

    def _put(self, controllers: Controllers, pid: int, most: int) -> None:
        try:
            if pid not in self._groups:
                self._number += 1
                name = f"{PREFIX}{os.getpid()}-{self._number}"
                self._groups[pid] = controllers.make(name, most, _PROCESSES)
            inside: set[int] = set()
            while new := set(family(pid)) - inside:  # one may have started another meanwhile
                for member in new:
                    self._groups[pid].add(member)
                inside |= new
        except ProcessLookupError:
            return  # it ended meanwhile; `take` comes
        except OSError as error:
            _log.warning("Worker %d is in no control group: %s.", pid, error)

    def why_ended(self, pid: int) -> str:
        """Return why the kernel ended a process of this worker; empty if it did not."""
        group = self._groups.get(pid)
        if group is None or not group.killed():
            return ""
        most = self._limits[pid] >> 20
        return f"it took more memory than the kernel gives it; its limit is {most} MiB"

    async def take(self, pid: int) -> None:
        """End what a process that is gone has left behind, and remove its group."""
        self._limits.pop(pid, None)
        group = self._groups.pop(pid, None)
        if group is not None and not await asyncio.to_thread(_empty, group):
            _log.warning("The control group of worker %d still has processes.", pid)


def _empty(group: Group) -> bool:
    until = time.monotonic() + _END_S
    while not group.remove():
        if time.monotonic() > until:
            return False
        group.end()
        time.sleep(0.005)
    return True
