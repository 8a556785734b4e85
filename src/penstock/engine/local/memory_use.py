"""How much memory processes have to themselves, and what to do about replicas with too much.

A replica over its version's limit is replaced: the replacement first, then the old one answers what
it holds. One over half as much again is killed, because it may bring down the machine.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
from pathlib import Path

from penstock.engine.local.family import family
from penstock.engine.local.replica import Replica
from penstock.engine.local.supervisor import Supervisor

_log = logging.getLogger(__name__)

#: States of replicas that are looked at.
_WATCHED = frozenset({"loading", "ready", "stopping"})

#: Times the limit at which a replica is killed.
_HARD = 1.5


def private_bytes(pid: int) -> int:
    """Return the bytes of memory that would be free without process `pid`; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines() if line.startswith("Private_"))
    return 1024 * sum(int(words[1]) for words in lines)


def resident_bytes(pid: int) -> int:
    """Return the bytes of memory process `pid` has, shared ones too; quick. 0 if it is gone."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(words[1]) * mmap.PAGESIZE


async def watch(supervisor: Supervisor, limit: int, every_s: float) -> None:
    """Look at the memory of a pool's replicas again and again, until cancelled.

    Args:
        supervisor: Has the replicas.
        limit: Bytes of private memory a replica may have.
        every_s: Seconds between two looks.
    """
    while True:
        await asyncio.sleep(every_s)
        for replica in [r for r in supervisor.replicas if r.state in _WATCHED]:
            await _look(supervisor, replica, limit)


async def _look(supervisor: Supervisor, replica: Replica, limit: int) -> None:
    pid = replica.pid
    members = family(pid) if pid else []
    if sum(map(resident_bytes, members)) <= limit:
        return
    private = await asyncio.to_thread(lambda: sum(map(private_bytes, members)))
    if replica.pid != pid:
        return
    replica.facts["private_bytes"] = private
    if private > _HARD * limit:
        _log.warning("Worker %d has %d bytes of memory and is killed.", pid, private)
        replica.kill(f"it took {private >> 20} MiB of memory; its limit is {limit >> 20} MiB")
    elif private > limit and replica.calls and supervisor.recycle(replica):
        _log.info("Worker %d has %d bytes of memory and is being replaced.", pid, private)
