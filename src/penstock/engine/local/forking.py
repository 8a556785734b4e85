"""Forks a child that becomes the server's own child. Used by the zygote and by templates.

The fork is double, so that the child is nobody's for a moment and the server, a subreaper, adopts
it: killing the process it was forked from harms no worker.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from penstock.engine.local import lifeline

_PID = struct.Struct("<q")


def settle() -> None:
    """Leave nothing for the collector to touch, so that children keep sharing these pages."""
    gc.collect()
    gc.freeze()


def fork_twice(server: int, child: Callable[[], NoReturn]) -> int:
    """Fork a child of process `server` that runs `child`, and return its process id.

    `child` closes what it inherits and does not want; it leads a session of its own, ends with the
    server, and has random numbers of its own.

    Raises:
        OSError: The fork failed.
    """
    reader, writer = os.pipe()
    try:
        between = os.fork()
        if not between:
            os.close(reader)
            _leave_child(writer, server, child)
        os.close(writer)
        writer = -1
        told = os.read(reader, _PID.size)
        os.waitpid(between, 0)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if len(told) < _PID.size:
        raise OSError("the process in between ended early")
    pid: int = _PID.unpack(told)[0]
    return pid


def _leave_child(writer: int, server: int, child: Callable[[], NoReturn]) -> NoReturn:
    """In the first child: fork the second, tell its process id, end."""
    try:
        between = os.getpid()
        pid = os.fork()
        if not pid:
            _become(writer, server, between, child)
        os.write(writer, _PID.pack(pid))
    finally:
        os._exit(0)


def _become(writer: int, server: int, between: int, child: Callable[[], NoReturn]) -> NoReturn:
    try:
        os.close(writer)
        os.setsid()
        lifeline.wait_for_adoption(server, between)
        lifeline.die_with(server)
        reseed()
        child()
    except BaseException:  # noqa: BLE001 - a child must never return into its parent's loop
        traceback.print_exc()
    finally:
        os._exit(70)


def reseed() -> None:
    """Give this process random numbers of its own; Python's `random` reseeds itself at a fork.

    NumPy's and PyTorch's global generators would give every worker the same numbers.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
