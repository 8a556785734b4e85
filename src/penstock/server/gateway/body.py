"""A predict body as it arrives: small ones in memory, large ones straight into a memory file.

Used by the gateway's protocol and by the Starlette predict route, so that both hand the engine the
same thing. A large body is never held twice: each piece is written away as it comes.
"""

from __future__ import annotations

import os

from penstock.codec import memfile
from penstock.codec.frames import INLINE_LIMIT
from penstock.control.predict import Body
from penstock.core.errors import BodyTooLarge


def too_large(size: int, limit: int) -> BodyTooLarge:
    """Return the error for a body of `size` bytes (or more) where `limit` are allowed."""
    return BodyTooLarge(
        f"The body has more than {limit} bytes.",
        hint="Send less at once, or raise the server's max_body_bytes.",
        limit_bytes=limit,
        size_bytes=size,
    )


class BodySink:
    """Takes the pieces of one body.

    Args:
        limit: Most bytes allowed.
        expected: Bytes announced, 0 if unknown; a large announcement opens the file at once.
    """

    __slots__ = ("_fd", "_held", "_limit", "size")

    def __init__(self, limit: int, expected: int = 0) -> None:
        self.size = 0
        self._limit = limit
        self._held = bytearray()
        self._fd = memfile.open_empty("penstock-body") if expected > INLINE_LIMIT else -1

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            BodyTooLarge: That is more than the limit.
        """
        self.size += len(piece)
        if self.size > self._limit:
            raise too_large(self.size, self._limit)
        if self._fd < 0:
            self._held += piece
            if self.size > INLINE_LIMIT:
                self._spill()
            return
        _write_all(self._fd, piece)

    def _spill(self) -> None:
        self._fd = memfile.open_empty("penstock-body")
        _write_all(self._fd, self._held)
        self._held = bytearray()

    def finish(self) -> Body:
        """Return the whole body. Its descriptor, if it has one, now belongs to the caller."""
        if self._fd < 0:
            return Body(bytes(self._held))
        memfile.seal(self._fd)
        os.lseek(self._fd, 0, os.SEEK_SET)
        body = Body(None, self._fd, self.size)
        self._fd = -1
        return body

    def discard(self) -> None:
        """Give up; nothing is kept. Safe to call after `finish`, and twice."""
        self._held = bytearray()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, piece: bytes | bytearray | memoryview) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]
