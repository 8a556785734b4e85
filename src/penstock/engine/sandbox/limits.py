"""Limits that every worker has, whatever the tier: descriptors, file size, no core files.

Where the machine runs out of memory, the kernel is to end a worker before the server.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: Processes and threads of one project, where projects have users of their own.
PROCESSES = 4096

#: How much sooner than others, of 1000.
_SOONER = 500

#: The same of a user that is shared with the server, where it has no limit of its own.
_PROCESSES_SHARED = 32768


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor but the standard ones and those in `keep`."""
    kept = {0, 1, 2, *keep}
    try:
        listed = {int(name) for name in os.listdir("/proc/self/fd")}
    except OSError:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        listed = set(range(3, min(soft, 65536)))
    for fd in listed - kept:
        with suppress(OSError):
            os.close(fd)


def apply(open_files: int, file_bytes: int, processes: int) -> None:
    """Limit this process and its children; nothing is raised above what it is now."""
    _offer_memory()
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, open_files)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    if processes and hasattr(resource, "RLIMIT_NPROC"):
        _lower(resource.RLIMIT_NPROC, processes)


def _offer_memory() -> None:
    place = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):  # other systems have nothing of the kind
        if int(place.read_text()) < _SOONER:
            place.write_text(str(_SOONER))


def half_of_the_user() -> int:
    """Return half of the processes that this process's user may have: the rest is the server's.

    The kernel counts all of a user's processes, whichever process it asks about, so that workers
    that fork without end come to their limit while the server is well below its own. It does not
    count those of root.
    """
    if not hasattr(resource, "RLIMIT_NPROC"):
        return 0
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    return _PROCESSES_SHARED if hard == resource.RLIM_INFINITY else max(1, hard // 2)


def _lower(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(OSError, ValueError):  # macOS refuses some
        resource.setrlimit(what, (limit, limit))
