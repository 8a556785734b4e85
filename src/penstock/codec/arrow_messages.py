"""How many bytes reading an Arrow stream would make, found in its messages before it is read.

Buffers may be compressed, and each says how large it is without that; a dictionary that grows is
made anew for the batches behind it. `arrow` calls `made_bytes` before it reads a stream. Tables and
fields are those of Arrow's `Message.fbs`, written as flatbuffers.
"""

from __future__ import annotations

import struct
from typing import Any

_LONG = struct.Struct("<q")

# Fields by their place in the virtual table: of a message, a record batch, a dictionary.
_HEADER = 2
_BUFFERS, _COMPRESSION = 2, 3
_DATA, _IS_DELTA = 1, 2

#: Arrow 0.17 wrote so that a message is compressed; it is read to this day.
_OLD_MARK = b"ARROW:experimental_compression"


def made_bytes(body: Any) -> int:
    """Return how many bytes reading a stream makes beside its own.

    Args:
        body: The stream, as a pyarrow buffer.

    Raises:
        pyarrow.ArrowException, OSError: It is no Arrow stream.
        struct.error: A message is not as it should be.
    """
    from pyarrow import ipc

    made = words = 0
    grown = False
    for message in ipc.MessageReader.open_stream(body):
        if message.type == "dictionary":
            head = _header(message)
            unpacked = _unpacked_bytes(message, head.table(_DATA))
            words += unpacked or len(message.body or b"")
            grown = grown or head.has(_IS_DELTA)
        elif message.type == "record batch":
            unpacked = _unpacked_bytes(message, _header(message))
            made += words if grown else 0
            grown = False
        else:
            continue
        made += unpacked
    return made


class _Table:
    """A table in a flatbuffer: where it is, and how far behind that each field (0: nowhere)."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self._at = at
        entries = at - struct.unpack_from("<i", raw, at)[0]
        size = struct.unpack_from("<H", raw, entries)[0]
        self._fields = struct.unpack_from(f"<{max(0, size // 2 - 2)}H", raw, entries + 4)

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return field < len(self._fields) and self._fields[field] != 0

    def table(self, field: int) -> _Table:
        """Return the table in a field."""
        return _Table(self._raw, self._target(field))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return the vector in a field whose elements are two long integers each."""
        if not self.has(field):
            return []
        at = self._target(field)
        count = struct.unpack_from("<I", self._raw, at)[0]
        flat = struct.unpack_from(f"<{2 * count}q", self._raw, at + 4)
        return list(zip(flat[::2], flat[1::2], strict=True))

    def _target(self, field: int) -> int:
        if not self.has(field):
            raise struct.error(f"field {field} is missing")
        at = self._at + self._fields[field]
        return int(at + struct.unpack_from("<I", self._raw, at)[0])


def _header(message: Any) -> _Table:
    raw = message.metadata.to_pybytes()
    return _Table(raw, struct.unpack_from("<I", raw)[0]).table(_HEADER)


def _unpacked_bytes(message: Any, batch: _Table) -> int:
    """Return what the compressed buffers of a batch say they have; 0 if it is not compressed."""
    if not batch.has(_COMPRESSION) and _OLD_MARK not in message.metadata.to_pybytes():
        return 0
    body = memoryview(message.body or b"")
    sizes = [_LONG.unpack_from(body, start)[0] for start, size in batch.pairs(_BUFFERS) if size]
    return sum(size for size in sizes if size > 0)  # -1: compressing was not worth it
