"""How much processor time a process has used, with what it started. Linux only."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.engine.local.family import family

#: Where the four times are in `/proc/<pid>/stat`, counted from behind the name: the process in its
#: own code and in the kernel, and the same of children that ended (proc_pid_stat(5), 14 to 17).
_TIMES = slice(11, 15)


def cpu_s(pid: int) -> float | None:
    """Return the processor seconds of process `pid` and its descendants; None if it is gone."""
    told = [times for times in map(_ticks, family(pid)) if times is not None]
    return sum(told) / os.sysconf("SC_CLK_TCK") if told else None


def _ticks(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return sum(map(int, text.rpartition(")")[2].split()[_TIMES]))
