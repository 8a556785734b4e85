"""Threads for plain functions that wait, each with a working directory of its own.

On Linux a thread may leave the working directory that the process shares (`unshare`), so every
thread has a desk and runs meet no other run's files. Where the kernel refuses that, the threads
share one directory, and only `penstock.run_folder()` is a run's own.

A thread whose run is given up cannot be stopped. It is written off: another takes its place, and it
ends when its function returns, if it ever does.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path

from penstock.flow.desk import Desk, HasFolder

#: What makes `unshare` separate the working directory (and the umask and the root).
_CLONE_FS = 0x200


def leave_shared_directory() -> bool:
    """Give the calling thread a working directory of its own; return whether that worked."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).unshare(_CLONE_FS) == 0)
    except AttributeError:
        return False


class SharedDesk(Desk):
    """What stands for a desk where threads share one directory: nothing is moved or watched."""

    def before(self, run: HasFolder) -> None:
        """Stay where the process is."""

    def after(self, run: HasFolder) -> None:
        """Leave what was made where it is."""


class Job:
    """A piece of a run's work.

    Attributes:
        work: Called with the desk of the thread that does it.
        thread: The kernel's number of the thread that does it; None before.
        is_done: Whether it was done.
        is_lost: Whether its run was given up while it was being done.
    """

    __slots__ = ("is_done", "is_lost", "thread", "work")

    def __init__(self, work: Callable[[Desk], None]) -> None:
        self.work = work
        self.thread: int | None = None
        self.is_done = False
        self.is_lost = False


class FunctionThreads:
    """As many threads as runs may wait at once; started as they are needed.

    Args:
        count: Most threads, those written off not counted.
        scratch: A folder for their working directories.
        private: Whether they can have working directories of their own.
    """

    def __init__(self, count: int, scratch: Path, private: bool) -> None:
        self._count = count
        self._scratch = scratch
        self._private = private
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._alive = 0
        self._started = 0
        self.lost = 0

    def submit(self, job: Job) -> None:
        """Have a job done as soon as a thread is free."""
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._alive < self._count:
                self._start()

    def give_up(self, job: Job) -> None:
        """Forget a job that nobody waits for: never do it, or write its thread off."""
        with self._changed:
            if job.is_done or job.is_lost:
                return
            if job.thread is None:
                if job in self._jobs:
                    self._jobs.remove(job)
                return
            job.is_lost = True
            self.lost += 1
            self._alive -= 1
            if self._jobs:
                self._start()

    def _start(self) -> None:
        self._alive += 1
        self._started += 1
        name = f"penstock-function-{self._started}"
        threading.Thread(target=self._work, args=(name,), name=name, daemon=True).start()

    def _work(self, name: str) -> None:
        desk = self._desk(name)
        while self._do(self._next(), desk):
            pass
        desk.close()

    def _do(self, job: Job, desk: Desk) -> bool:
        """Do a job; return whether the thread goes on. It keeps nothing of the job."""
        try:
            job.work(desk)
        except BaseException:  # noqa: BLE001 - the thread must go on
            traceback.print_exc()
        with self._changed:
            job.is_done = True
            self.lost -= job.is_lost
            return not job.is_lost

    def _next(self) -> Job:
        with self._changed:
            while not self._jobs:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            job = self._jobs.popleft()
            job.thread = threading.get_native_id()
            return job

    def _desk(self, name: str) -> Desk:
        folder = self._scratch / name
        if not (self._private and leave_shared_directory()):
            return SharedDesk(folder)
        desk = Desk(folder)
        desk.open()
        return desk

    @staticmethod
    def can_be_private() -> bool:
        """Whether threads of this process can leave the directory they share; tries it."""
        found: list[bool] = []
        trial = threading.Thread(target=lambda: found.append(leave_shared_directory()))
        trial.start()
        trial.join()
        return found == [True]


def cpu_seconds(thread: int) -> float:
    """Return how long a thread has computed, by the kernel's number; 0 if it is unknown."""
    try:
        text = Path(f"/proc/self/task/{thread}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def go_to(folder: Path) -> None:
    """Have the calling thread work in `folder`, if it can do so without moving the others."""
    if leave_shared_directory():
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
