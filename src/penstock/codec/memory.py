"""Requests of a worker to the server and their answers (msgpack, length-prefixed).

The store sees names and opaque bytes; only workers turn them into objects. Numbers written by
`memory.incr` are kept as numbers so that they can be added to without unpickling. A file to upload
travels as an open descriptor beside its message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

#: Most names that are written in one go.
MOST_WRITES = 100_000

#: Most bytes of one value, whatever the server's own limit.
MOST_VALUE_BYTES = 64 * 1024 * 1024

#: Most bytes of a request, without its length: values, their names and what is around them.
REQUEST_LIMIT = MOST_VALUE_BYTES + 1024 * 1024

#: Bytes that are around a name and its value in a request, and those of its own head, at most.
_AROUND = 128

#: Where a value lives. `run` never leaves the worker, so it does not appear here.
DEPLOYMENT = "deployment"
PROJECT = "project"


class Write(msgspec.Struct, frozen=True, array_like=True):
    """One name to write (`value`) or delete (`value` None). `ttl_s` None keeps it for good."""

    scope: str
    name: str
    value: bytes | None
    ttl_s: float | None = None


def bytes_of(writes: Iterable[Write]) -> int:
    """Return how many bytes writes are in a request, at most."""
    return sum(len(w.value or b"") + 4 * len(w.name) + _AROUND for w in writes)


class Read(msgspec.Struct, tag="read", frozen=True):
    """Ask for a value. If the store still has `known_stamp`, it answers `Unchanged`."""

    scope: str
    name: str
    known_stamp: int = 0


class Publish(msgspec.Struct, tag="publish", frozen=True):
    """Write everything a run (or a batch of runs) saved, in order, in one transaction."""

    writes: Annotated[list[Write], msgspec.Meta(max_length=MOST_WRITES)]


class Increment(msgspec.Struct, tag="increment", frozen=True):
    """Add `by` to a number, atomically; a missing name counts as 0."""

    scope: str
    name: str
    by: int | float
    ttl_s: float | None = None


class Swap(msgspec.Struct, tag="swap", frozen=True):
    """Write only if the name still has `expected_stamp` (0: still missing)."""

    scope: str
    name: str
    expected_stamp: int
    value: bytes
    ttl_s: float | None = None


class Upload(msgspec.Struct, tag="upload", frozen=True):
    """Store the file whose descriptor comes with this message and answer an address of it.

    Attributes:
        name: File name to offer to whoever fetches it.
        ttl_s: Seconds to keep it; None for the server's usual time.
        fd: The receiver's number of the descriptor, set by the receiver; -1 while it travels.
    """

    name: str
    ttl_s: float | None = None
    fd: int = -1


class AskSecrets(msgspec.Struct, tag="secrets", frozen=True):
    """Ask for the secrets that the version declares, as they are now."""


class Value(msgspec.Struct, tag="value", frozen=True):
    """The value asked for. `number` instead of `value` when it was written by `incr`."""

    stamp: int
    value: bytes | None = None
    number: int | float | None = None


class Missing(msgspec.Struct, tag="missing", frozen=True):
    """There is no such name."""


class Unchanged(msgspec.Struct, tag="unchanged", frozen=True):
    """The value still has the stamp that was known."""


class Done(msgspec.Struct, tag="done", frozen=True):
    """The write is durable."""

    stamp: int = 0


class Lost(msgspec.Struct, tag="lost", frozen=True):
    """A `Swap` came too late: the name has another stamp by now."""


class Uploaded(msgspec.Struct, tag="uploaded", frozen=True):
    """The file is stored; `url` serves it until it expires."""

    url: str


class SecretValues(msgspec.Struct, tag="secret_values", frozen=True):
    """The secrets that the version declares and that are set, by name."""

    values: dict[str, str]


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The store refuses; `error` is `PenstockError.to_dict()`."""

    error: dict[str, Any]


MemoryRequest = Read | Publish | Increment | Swap
MemoryAnswer = Value | Missing | Unchanged | Done | Lost | Refused

#: Everything that travels on a worker's memory socket.
WorkerRequest = MemoryRequest | Upload | AskSecrets
WorkerAnswer = MemoryAnswer | Uploaded | SecretValues
