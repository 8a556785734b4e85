"""What the server tells the process that writes predictions: answered calls, as bytes.

`penstock.control.prediction_log` sends, `penstock.wiring.logger_process` reads. Bodies stay what
they are: only that process looks into them.
"""

from __future__ import annotations

import struct
from typing import IO

import msgspec

from penstock.core.loggers import LoggerSpec

_LENGTH = struct.Struct("<I")


class LoggedVersion(msgspec.Struct, array_like=True, frozen=True):
    """A version and where its predictions go. Its loggers' references are resolved."""

    project: str
    deployment: str
    number: int
    loggers: list[LoggerSpec]


class Answered(msgspec.Struct, array_like=True, frozen=True):
    """One call that was answered with a result.

    Attributes:
        version: Which of the batch's versions answered.
        arrived_at: When the call came, in seconds since the epoch.
        media_type: Media type of the request.
        body: The request's body; None when it is not kept.
        answer: The answer's body, JSON.
    """

    version: int
    arrived_at: float
    media_type: bytes
    body: bytes | None
    answer: bytes


class Batch(msgspec.Struct, array_like=True, frozen=True):
    """Answered calls, with the versions that answered them."""

    versions: list[LoggedVersion]
    answers: list[Answered]


def pack_batch(batch: Batch) -> bytes:
    """Return a batch as bytes with their length before them."""
    packed = msgspec.msgpack.encode(batch)
    return _LENGTH.pack(len(packed)) + packed


def read_batch(stream: IO[bytes]) -> Batch | None:
    """Return the next batch of a stream; None at its end, also within a batch."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    size: int = _LENGTH.unpack(head)[0]
    packed = stream.read(size)
    return msgspec.msgpack.decode(packed, type=Batch) if len(packed) == size else None
