"""Memory files: large bodies that travel between processes as a descriptor, never copied twice.

The server makes one per large request, the worker one per large answer. The receiver maps it. A
map of a file that its maker then shortens kills the reader (SIGBUS), so a worker's file is mapped
only if it is sealed against that; others are copied.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import sys
import tempfile
from collections.abc import Iterable

from penstock.core.errors import InternalError

_LINUX = sys.platform == "linux"
_CHUNK = 1 << 20
_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since Linux 5.1


def create(parts: Iterable[bytes | memoryview]) -> tuple[int, int]:
    """Return `(descriptor, size in bytes)` of a new memory file holding `parts`, sealed."""
    fd = open_empty("penstock-body")
    try:
        size = sum(_write_all(fd, part) for part in parts)
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd, size


def open_empty(name: str) -> int:
    """Return a descriptor of a new, empty memory file; write to it, then `seal` it."""
    if _LINUX:
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(fd: int, *, writable: bool = True) -> None:
    """Fix the size of a memory file for good, so that others may map it.

    Args:
        fd: The descriptor.
        writable: False lets only maps write to it that are there already.
    """
    if _LINUX:
        if not writable:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def read(fd: int, size: int, *, trusted: bool) -> memoryview:
    """Return the first `size` bytes of a memory file, read-only. `fd` may be closed afterwards.

    Args:
        fd: The descriptor.
        size: How many bytes its sender announced.
        trusted: False when the sender may be hostile: the file is mapped only if it is sealed.

    Raises:
        InternalError: It is no regular file or has fewer bytes than announced.
    """
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size < size:
        raise InternalError(f"A body of {size} bytes was announced and is not there.")
    if not size:
        return memoryview(b"")
    if trusted or _is_sealed(fd):
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return memoryview(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ))
    return memoryview(_copy(fd, size))


def _is_sealed(fd: int) -> bool:
    if not _LINUX:
        return False
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:
        return False


def _copy(fd: int, size: int) -> bytes:
    parts = []
    at = 0
    while at < size:
        part = os.pread(fd, min(_CHUNK, size - at), at)
        if not part:
            raise InternalError(f"A body of {size} bytes ended after {at}.")
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _write_all(fd: int, data: bytes | memoryview) -> int:
    view = memoryview(data).cast("B")
    at = 0
    while at < len(view):
        at += os.write(fd, view[at:])
    return at
