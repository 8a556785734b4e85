"""A predict body as it arrives: small ones in memory, large ones straight into a memory file.

Used by the gateway's protocol and by the Starlette predict route, so that both hand the engine the
same thing. A large body is never held twice: each piece is written away as it comes, or received
where it is to be (`room`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.codec import memfile
from penstock.codec.body_files import LARGEST, BodyFile, Shelf
from penstock.codec.frames import INLINE_LIMIT
from penstock.control.predict import Body, FileBody
from penstock.core.errors import BodyTooLarge, Overloaded


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
        shelf: Has files that are used again; without it each large body gets a file of its own.
        owner: Whose body it is, for the shelf.

    Raises:
        Overloaded: There is no descriptor, or no memory, for a large body.
    """

    __slots__ = ("_expected", "_fd", "_file", "_held", "_limit", "size")

    def __init__(
        self, limit: int, expected: int = 0, shelf: Shelf | None = None, owner: str = ""
    ) -> None:
        self.size = 0
        self._limit = limit
        self._expected = expected
        self._held = bytearray()
        self._fd = -1
        self._file: BodyFile | None = None
        if expected > INLINE_LIMIT:
            with _refusing():
                if shelf is not None and expected <= LARGEST:
                    self._file = shelf.take(owner, expected)
                else:
                    self._fd = memfile.open_empty("penstock-body")

    def room(self) -> memoryview | None:
        """Return where the rest of the announced body goes, to be told with `received`.

        None where that cannot be: it must come through `write`.
        """
        return None if self._file is None else self._file.view[self.size : self._expected]

    def received(self, size: int) -> None:
        """Take note that `size` bytes are in the room."""
        self.size += size

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            BodyTooLarge: That is more than the limit.
            Overloaded: There is no descriptor, or no memory, for a large body.
        """
        self.size += len(piece)
        if self.size > self._limit:
            raise too_large(self.size, self._limit)
        if self._file is not None:
            self._file.view[self.size - len(piece) : self.size] = piece
            return
        if self._fd < 0:
            self._held += piece
            if self.size > INLINE_LIMIT:
                self._spill()
            return
        _write_all(self._fd, piece)

    def _spill(self) -> None:
        with _refusing():
            self._fd = memfile.open_empty("penstock-body")
            _write_all(self._fd, self._held)
        self._held = bytearray()

    def finish(self) -> Body:
        """Return the whole body. Its descriptor, if it has one, now belongs to the caller.

        Raises:
            Overloaded: There is no descriptor left.
        """
        if self._file is not None:
            file, self._file = self._file, None
            with _refusing():
                return FileBody(file, self.size)
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
        if self._file is not None:
            self._file.give_back()
            self._file = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse the body where the system has no room for it."""
    try:
        yield
    except OSError as error:
        raise _no_room(error) from None


def _no_room(error: OSError) -> Overloaded:
    return Overloaded(
        f"The server has no room for a large body just now: {error.strerror}.",
        hint="Try again, or raise the limit of open files of the server process.",
        retry_after_s=1,
    )


def _write_all(fd: int, piece: bytes | bytearray | memoryview) -> None:
    view = memoryview(piece)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise _no_room(error) from None
