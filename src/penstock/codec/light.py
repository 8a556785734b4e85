"""Whether JSON of strangers is light enough to be read where everybody waits for it.

A megabyte of `[],[],[],` becomes half a million lists, and the process that reads it does nothing
else for a second: the collector of garbage looks at all of them, again and again. Everything else
in JSON is cheap to read, texts least so. So lists and objects are counted before, and of callers
texts too; brackets in texts count as well.
"""

from __future__ import annotations

import msgspec

#: What reading JSON raises that is none, is of another form, was cut within a character or is too
#: deep.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

#: Most lists and objects of what a worker says: some ten milliseconds.
MOST_CONTAINERS = 20_000

#: Texts that take as long to read as one list; an object of half a million names takes 0.1 s.
TEXTS = 5

#: Most bytes of what a worker says of itself, and of an error.
MOST_BYTES = 1024 * 1024


def is_light(
    data: bytes | memoryview, most_bytes: int = MOST_BYTES, containers: int = MOST_CONTAINERS
) -> bool:
    """Whether JSON has no more than so many bytes, and so many lists and objects."""
    if len(data) > most_bytes:
        return False
    return len(data) <= containers or count_containers(bytes(data)) <= containers


def is_quick(data: bytes, containers: int) -> bool:
    """Whether JSON has no more than so many lists and objects, and `TEXTS` times as many texts."""
    if len(data) <= containers:
        return True
    return count_containers(data) <= containers and data.count(b'"') <= 2 * TEXTS * containers


def count_containers(data: bytes) -> int:
    """Return at least the number of lists and objects in JSON."""
    return data.count(b"[") + data.count(b"{")
