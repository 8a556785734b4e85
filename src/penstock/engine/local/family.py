"""A process with everything it started: whose memory counts together. Used by `memory_use`."""

from __future__ import annotations

import os
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return the process and its descendants, as far as they can be seen. Linux only.

    A worker in the tier isolated is a descendant of the process that the server started, and what
    user code starts is a descendant of its worker.
    """
    found = [pid]
    for member in found:  # it grows while it is gone through
        found += _children(member)
    return found


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [int(child) for task in os.listdir(tasks) for child in _started_by(tasks / task)]
    except OSError:  # it ended
        return []


def _started_by(task: Path) -> list[str]:
    try:
        return (task / "children").read_text(encoding="ascii").split()
    except OSError:
        return []
