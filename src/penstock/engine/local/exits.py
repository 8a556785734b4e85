"""Follows child processes: learns of their end, says how they ended, leaves no zombie.

On Linux through a pidfd, which is also what signals are sent to, so that a reused process id is
never hit. Elsewhere a thread waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import NamedTuple


class Exit(NamedTuple):
    """How a process ended: by `signal` (a name such as `SIGKILL`), else with exit `code`."""

    code: int
    signal: str

    def __str__(self) -> str:
        return self.signal or f"exit code {self.code}"


def _exit_of_code(code: int) -> Exit:
    """Return the exit for a code as `subprocess` counts it: negative for a signal."""
    if code >= 0:
        return Exit(code, "")
    try:
        return Exit(0, signal.Signals(-code).name)
    except ValueError:
        return Exit(0, f"signal {-code}")


class Child:
    """A child process of this process, until it ended and was reaped.

    Attributes:
        pid: Its process id.
        exit: How it ended; None while it runs.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pid: int, on_exit: Callable[[Child], None]
    ) -> None:
        self.pid = pid
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self._loop = loop
        self._on_exit = on_exit
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            self._watch()
        else:
            threading.Thread(target=self._wait, name=f"penstock-wait-{pid}", daemon=True).start()

    def kill(self) -> None:
        """End it by SIGKILL; nothing happens when it has ended."""
        if self.exit is not None:
            return
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def release(self) -> None:
        """Follow it no longer: somebody else will, and reaps it. Linux only."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._loop.call_soon(self._ended, 0)
        else:
            self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if not pid:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._ended(os.waitstatus_to_exitcode(status))

    def _wait(self) -> None:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            status = 0
        self._loop.call_soon_threadsafe(self._ended, os.waitstatus_to_exitcode(status))

    def _ended(self, code: int) -> None:
        self.exit = _exit_of_code(code)
        self.ended.set()
        self._on_exit(self)
