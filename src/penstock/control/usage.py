"""How much memory workers and the machine have. Called by the dashboard.

Looking at a process costs up to a millisecond in the kernel, so it is done in a thread, and what
was found a few seconds ago is found again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from penstock.engine.local.memory_use import private_bytes

#: Seconds for which a figure is good.
_FRESH_S = 10.0


class Usage:
    """Memory of processes and of the machine. Every method runs on the event loop."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int]] = {}

    async def private(self, pids: Sequence[int]) -> dict[int, int]:
        """Return the bytes that each process has to itself, without those that are gone."""
        now = time.monotonic()
        stale = [pid for pid in pids if pid and self._seen.get(pid, (0.0, 0))[0] < now - _FRESH_S]
        if stale:
            found = await asyncio.to_thread(lambda: [private_bytes(pid) for pid in stale])
            wanted = set(pids)
            self._seen = {
                pid: seen
                for pid, seen in self._seen.items()
                if pid in wanted or seen[0] > now - _FRESH_S
            }
            self._seen |= {pid: (now, size) for pid, size in zip(stale, found, strict=True)}
        return {pid: self._seen[pid][1] for pid in pids if self._seen.get(pid, (0, 0))[1]}

    @staticmethod
    def machine_bytes() -> int | None:
        """Return the bytes of the machine's memory, if it tells."""
        return _meminfo("MemTotal:")

    @staticmethod
    def available_bytes() -> int | None:
        """Return the bytes that programs could still use, if the machine tells."""
        return _meminfo("MemAvailable:")

    @staticmethod
    def cores() -> int:
        """Return how many processors the server may use."""
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )


def _meminfo(name: str) -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    return None
