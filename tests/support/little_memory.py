"""Bounds on memory for tests of what once took all of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GIB = 1024**3


@contextmanager
def at_most(more_bytes: int = GIB) -> Iterator[None]:
    """Let this process take `more_bytes` of address space at most; more is a `MemoryError`."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
