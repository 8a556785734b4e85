"""The folder that processing functions run in: a run that writes files gets one of its own.

All runs of a worker share one empty folder, the desk, as working directory. After every function
one `stat` tells whether something was made in it; if so the desk, path and all, becomes the folder
of that run, and a fresh desk is laid for the others. A run that writes nothing costs one `stat`
per function and no folder. Fixed file names in user code therefore never collide.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

#: Looked up once: this is called after every function.
_stat = os.stat


class HasFolder(Protocol):
    """What the desk knows of a run: the folder that became its own, or None."""

    folder: str | None


class Desk:
    """The working directories of one worker or one local run.

    Args:
        scratch: A folder that belongs to this process alone.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = str(scratch.resolve())
        self._count = 0
        self._path = ""
        self._inode = 0
        self._here: str | None = None

    def open(self) -> None:
        """Lay the first desk and make it the working directory of the process."""
        os.makedirs(self._scratch, exist_ok=True)
        self._lay()
        self._go(self._path)

    def before(self, run: HasFolder) -> None:
        """Make the run's folder, or the desk, the working directory."""
        want = run.folder or self._path
        if want is not self._here:
            self._go(want)

    def after(self, run: HasFolder) -> None:
        """Find out whether a function made something on the desk, or left it."""
        if run.folder is not None:
            self._here = None  # it may have changed the directory; go there anew next time
            return
        here = _stat(".")
        if here.st_mtime_ns == 0 and here.st_ino == self._inode:
            return
        self._here = None
        if here.st_ino != self._inode and self._is_clean():
            self._go(self._path)
            return
        run.folder = self._path
        self._lay()

    def finish(self, run: HasFolder) -> None:
        """Remove the run's folder, if it has one."""
        if run.folder is None:
            return
        self._go(self._path)
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder = None

    def close(self) -> None:
        """Remove all folders. The working directory must have been left before."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _is_clean(self) -> bool:
        try:
            return os.stat(self._path).st_mtime_ns == 0
        except FileNotFoundError:
            return False

    def _lay(self) -> None:
        self._count += 1
        # The process id keeps apart what a killed worker may have left in the same scratch folder.
        self._path = os.path.join(self._scratch, f"run-{os.getpid()}-{self._count}")
        shutil.rmtree(self._path, ignore_errors=True)
        os.mkdir(self._path)
        os.utime(self._path, ns=(0, 0))
        self._inode = os.stat(self._path).st_ino

    def _go(self, path: str) -> None:
        try:
            os.chdir(path)
        except FileNotFoundError:  # a function removed its own working directory
            os.makedirs(path)
            os.chdir(path)
        self._here = path
