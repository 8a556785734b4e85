"""A disk that fails at the n-th call: `failing_disk.c` under a server, and its control file."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "programs" / "failing_disk.c"

OPEN, CREATE, READ, WRITE, SYNC, NAME = 1, 2, 4, 8, 16, 32


class _Control(ctypes.Structure):
    _fields_ = (
        ("counted", ctypes.c_uint64),
        ("fail_at", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("kinds", ctypes.c_uint32),
        ("number", ctypes.c_int32),
        ("pid", ctypes.c_int32),
    )


class FailingDisk:
    """Files below a folder, for the next process that is started with `environment`.

    Args:
        folder: Where the library and its control file are put; not what fails.
        below: The folder whose files fail.

    Attributes:
        environment: What the process is to be started with.

    Raises:
        FileNotFoundError: There is no C compiler.
    """

    def __init__(self, folder: Path, below: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("there is no C compiler")
        library = folder / "failing_disk.so"
        options = ["-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run([compiler, *options], check=True)
        path = folder / "failing_disk.control"
        path.write_bytes(bytes(ctypes.sizeof(_Control)))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._shared)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAILING_DISK": str(path),
            "FAILING_DISK_BELOW": str(below),
        }

    def begin_anew(self) -> None:
        """Let the next process be the one concerned."""
        self._control.pid = 0

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
            failure.calls, failure.happened = control.counted, control.failed > 0


class Failure:
    """What became of it, known afterwards.

    Attributes:
        calls: Calls that were counted.
        happened: Whether there were so many calls that one failed.
    """

    calls = 0
    happened = False
