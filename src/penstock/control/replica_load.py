"""What each replica does: calls a second, and how busy its process is. Called by the dashboard.

Nothing is measured while calls are answered: a replica counts its calls anyway, and the kernel
counts the processor time of every process. Both are looked at when somebody asks, and what was
there at the looks before says how much it was lately. So the first look has nothing to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from penstock.control.status import ReplicaView
from penstock.engine.local.cpu_use import cpu_s

#: Seconds that a figure is about at most, and at least.
WINDOW_S, LEAST_S = 10.0, 1.0


class Load(NamedTuple):
    """What a replica did in the last seconds.

    Attributes:
        calls_per_s: Calls it answered.
        busy: Processor time by time: 1.0 is one core all the time, more with several threads. None
            where the system does not tell. A worker that waits for its next call awake is busy.
    """

    calls_per_s: float
    busy: float | None


class _Look(NamedTuple):
    at: float
    calls: int
    cpu_s: float | None


class ReplicaLoads:
    """Every method runs on the event loop.

    Args:
        cpu: Returns the processor seconds of a process so far, None if it is gone.
        now: Seconds, of a clock that never goes back.
    """

    def __init__(
        self,
        cpu: Callable[[int], float | None] = cpu_s,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu = cpu
        self._now = now
        self._looks: dict[tuple[int, float], list[_Look]] = {}

    async def look(self, replicas: Sequence[ReplicaView]) -> dict[int, Load]:
        """Return what the replicas did lately, by process id, as far as it is known."""
        there = [replica for replica in replicas if replica.pid]
        used = await asyncio.to_thread(lambda: [self._cpu(replica.pid) for replica in there])
        now = self._now()
        self._forget(now)
        found = {}
        for replica, seconds in zip(there, used, strict=True):
            looks = self._looks.setdefault((replica.pid, replica.started_at), [])
            this = _Look(now, replica.calls, seconds)
            if looks and now - looks[0].at >= LEAST_S:
                found[replica.pid] = _between(looks[0], this)
            if not looks or now - looks[-1].at >= LEAST_S:
                looks.append(this)
        return found

    def _forget(self, now: float) -> None:
        """Forget looks that are too old to say anything of the last seconds."""
        fresh = {
            key: [look for look in looks if now - look.at <= WINDOW_S]
            for key, looks in self._looks.items()
        }
        self._looks = {key: looks for key, looks in fresh.items() if looks}


def _between(old: _Look, new: _Look) -> Load:
    passed = new.at - old.at
    busy = None
    if old.cpu_s is not None and new.cpu_s is not None:
        busy = max(0.0, new.cpu_s - old.cpu_s) / passed
    return Load((new.calls - old.calls) / passed, busy)
