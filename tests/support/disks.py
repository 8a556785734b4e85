"""Disks that fail or lose what was not synced: C libraries put under a server, and their control.

Both see only files below one folder, and only the process that is started with `environment`.
"""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent.parent / "programs"

OPEN, CREATE, READ, WRITE, SYNC, NAME = 1, 2, 4, 8, 16, 32


def _library(name: str, folder: Path) -> str:
    """Compile a library into a folder and return its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = folder / f"{name}.so"
    options = ["-shared", "-fPIC", "-O1", "-o", str(library), str(PROGRAMS / f"{name}.c")]
    subprocess.run([compiler, *options, "-ldl", "-lpthread"], check=True)
    return str(library)


class _Control(ctypes.Structure):
    _fields_ = (
        ("counted", ctypes.c_uint64),
        ("fail_at", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("kinds", ctypes.c_uint32),
        ("number", ctypes.c_int32),
        ("pid", ctypes.c_int32),
    )


class Failure:
    """What became of a call that was to fail, known afterwards.

    Attributes:
        happened: Whether there were so many calls that it failed.
    """

    happened = False


class FailingDisk:
    """Files of which the n-th call fails.

    Args:
        folder: Where the library and its control file are put.
        below: The folder whose files fail.

    Attributes:
        environment: What the process is to be started with.
    """

    def __init__(self, folder: Path, below: Path) -> None:
        path = folder / "failing_disk.control"
        path.write_bytes(bytes(ctypes.sizeof(_Control)))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._shared)
        self.environment = {
            "LD_PRELOAD": _library("failing_disk", folder),
            "FAILING_DISK": str(path),
            "FAILING_DISK_BELOW": str(below),
        }

    @contextmanager
    def failing(self, kinds: int, number: int, at: int) -> Iterator[Failure]:
        """Let the call `at`, counted from 1 among those of `kinds`, fail with an errno."""
        control = self._control
        control.kinds = 0
        control.counted = control.failed = 0
        control.number, control.fail_at = number, at
        control.kinds = kinds
        failure = Failure()
        try:
            yield failure
        finally:
            control.kinds = 0
            failure.happened = control.failed > 0


class LosingDisk:
    """Files of which, after a cut of the power, only what was synced is there.

    Args:
        folder: Where the library is put, and what the disk has.
        below: The folder whose files are concerned; it must not exist yet.

    Attributes:
        environment: What each process that uses the files is to be started with.
    """

    def __init__(self, folder: Path, below: Path) -> None:
        self._below = below
        self._has = folder / "on-the-disk"
        self.environment = {
            "LD_PRELOAD": _library("losing_disk", folder),
            "LOSING_DISK_BELOW": str(below),
            "LOSING_DISK_HAS": str(self._has),
        }

    def cut(self) -> None:
        """Leave of the files what the disk has. Nobody may be using them."""
        for path in [p for p in self._below.rglob("*") if p.is_file() or p.is_socket()]:
            path.unlink()
        shutil.copytree(self._has, self._below, dirs_exist_ok=True)
