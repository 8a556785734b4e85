"""Ties the lives of processes together: nobody outlives the server, and nobody stays a zombie.

The server calls `become_subreaper`, so that a worker whose zygote is gone becomes the server's own
child. Zygote and workers call `die_with`, so that the kernel ends them when the server ends, even
by `kill -9`. On systems without these calls the sockets' end of file does the same a little later.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

#: How long a new worker waits to become the server's child, in seconds.
_ADOPTION_S = 5.0

#: How many descriptors the server asks for.
_DESCRIPTORS = 65536


@functools.lru_cache(maxsize=1)  # making one takes a quarter of a millisecond
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_subreaper() -> None:
    """Make this process the parent of descendants whose own parent ended. Linux only."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """End this process by SIGKILL when `parent`, which is its parent process, ends.

    Ends the process at once when `parent` is already gone. `parent` must be the parent by now.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def name_process(name: str) -> None:
    """Have `ps` and `top` show this process as `name`, 15 letters at most. Linux only."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_NAME, name.encode("ascii")[:15], 0, 0, 0)


def wait_for_adoption(parent: int, before: int) -> None:
    """Return when `parent` has become this process's parent; end the process if it never does.

    `before` is the parent it was forked by. Any other parent means that `parent` is gone.
    """
    deadline = time.monotonic() + _ADOPTION_S
    while (now := os.getppid()) != parent:
        if now != before or time.monotonic() > deadline:
            os._exit(0)
        time.sleep(0.0002)


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may: every worker costs it six descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def thread_count() -> int:
    """Return how many threads this process has, those of C libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
