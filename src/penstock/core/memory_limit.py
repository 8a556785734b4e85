"""The memory limit of this worker, for the errors of code that meets it.

Set once by `penstock.engine.local.resources` when a worker begins; asked by whoever turns an
exception into an error.
"""

from __future__ import annotations

#: What frameworks say, besides `MemoryError`, when they cannot have more memory.
_WORDS = ("can't allocate memory", "cannot allocate memory", "bad_alloc", "not enough memory")

_limit: list[str] = []


def remember(deployment: str, limit_bytes: int) -> None:
    """Note whose worker this process is, and what it may take; 0 for no limit."""
    _limit[:] = [f"{deployment} may take {limit_bytes >> 20} MiB of memory"] if limit_bytes else []


def memory_hint(error: BaseException) -> str | None:
    """Return what to do about an error that is about memory; None for any other."""
    text = str(error).lower() if isinstance(error, (RuntimeError, OSError)) else ""
    if not isinstance(error, MemoryError) and not any(words in text for words in _WORDS):
        return None
    if not _limit:
        return "The machine has no more memory: send less at once, or deploy fewer replicas."
    return f"{_limit[0]} in one worker: send less at once, or deploy with a larger memory=."
