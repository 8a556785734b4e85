"""Processes that user code started and left behind: ended with their worker, reaped when dead.

The server adopts every descendant whose parent ended. A worker leads a session of its own, so its
descendants are told from the server's own children by their session. One that made a session for
itself belongs to no worker that we know: where workers are confined it is told by its filter of
system calls, which nothing takes off, and ended some time after it came to us. Linux only;
elsewhere init adopts them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: Where `/proc/<pid>/stat` says who the parent is and when it was started, after the name.
_PARENT, _STARTED = 1, 19

_TICKS = os.sysconf("SC_CLK_TCK")


class _Found(NamedTuple):
    pid: int
    zombie: bool
    session: int


def _children() -> list[_Found]:
    own = os.getpid()
    try:
        listed = Path(f"/proc/self/task/{own}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [found for found in map(_look, listed) if found is not None]


def _look(pid: str) -> _Found | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command is in brackets and may hold anything; the fields start after the last bracket.
    state, _, _, session = text[text.rindex(")") + 2 :].split()[:4]
    return _Found(int(pid), state in "ZX", int(session))


def is_new_child(pid: int, since: float) -> bool:
    """Whether `pid` is a child of this process that was started after `since`, or is gone.

    What a template or a zygote says of a process is not believed: it could name another's.

    Args:
        pid: What was said.
        since: What `now` returned before the process was asked for.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[_PARENT]) == os.getpid() and int(fields[_STARTED]) / _TICKS >= since


def now() -> float:
    """Return the time as the kernel notes the starts of processes: full ticks, in seconds."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return int(time.clock_gettime(clock) * _TICKS) / _TICKS


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def _filters(pid: str) -> int:
    """Return how many filters of system calls a process has; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    lines = dict(line.partition(":")[::2] for line in text.splitlines())
    # Kernels before 5.9 tell the mode only: 2 where there is a filter.
    return int(lines.get("Seccomp_filters") or lines.get("Seccomp") or 0)


class Orphans:
    """Looks after adopted processes that nobody follows.

    Args:
        stray_s: Seconds that a confined process of an unknown session is let be. It may be one that
            only tries imports, or a worker that was just forked and that nobody follows yet.
    """

    def __init__(self, stray_s: float = 150.0) -> None:
        self._stray_s = stray_s
        self._strays: dict[int, float] = {}
        # Children of the program that the engine lives in are not ours, whatever their session.
        self._followed: set[int] = {found.pid for found in _children()}
        self._ended: set[int] = set()

    def follow(self, pid: int) -> None:
        """Leave this child alone: somebody else reaps it."""
        self._followed.add(pid)
        self._ended.discard(pid)

    def forget(self, pid: int) -> None:
        """The child was reaped."""
        self._followed.discard(pid)

    def end_session(self, session: int) -> None:
        """Kill what is left of a dead worker's session, and reap all dead orphans.

        Those whose parent still lives are not ours yet. Nearly all of them are in the worker's
        process group, which is killed at once; the others are killed by later sweeps.
        """
        if any(found.session == session for found in self._adopted()):
            self._ended.add(session)
            # A group that has members keeps its number, so this hits nobody else.
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        self.sweep()

    def sweep(self) -> None:
        """Reap dead orphans; kill those of dead workers' sessions, and those of unknown ones."""
        now = time.monotonic()
        self._strays = {pid: self._strays.get(pid, now) for pid in self._find_strays()}
        old = {pid for pid, since in self._strays.items() if now - since > self._stray_s}
        self._sweep(lambda found: found.session in self._ended or found.pid in old)

    def _find_strays(self) -> list[int]:
        adopted = self._adopted()
        if not adopted:
            return []
        known, own = {_session_of(pid) for pid in self._followed}, _filters("self")
        return [f.pid for f in adopted if f.session not in known and _filters(str(f.pid)) > own]

    def end_all(self) -> bool:
        """Kill every orphan. Returns whether any is left to be reaped."""
        self._sweep(lambda _: True)
        return bool(self._adopted())

    def _adopted(self) -> list[_Found]:
        own = os.getsid(0)
        return [f for f in _children() if f.session != own and f.pid not in self._followed]

    def _sweep(self, condemned: Callable[[_Found], bool]) -> None:
        for found in self._adopted():
            with suppress(ProcessLookupError, ChildProcessError):
                if found.zombie:
                    os.waitpid(found.pid, os.WNOHANG)
                elif condemned(found):
                    os.kill(found.pid, signal.SIGKILL)
