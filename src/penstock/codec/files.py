"""The files of a request, as the processing functions see them.

`RequestFile` is a read-only binary file over bytes that already are in memory: a slice of the
request's body (nothing is copied until it is read), or what a local run was given. `payload`
makes them in the worker, `from_any` makes them on the client; the flow rewinds them before each
function and sets `directory`, the run's working directory, for `path`.
"""

from __future__ import annotations

import io
import mimetypes
import os
from collections.abc import Callable
from typing import Any

from penstock.core.errors import InternalError, MalformedBody

OCTETS = "application/octet-stream"

_NAME_BYTES = 200
_FIRST_WINDOW = 4096
_LAST_WINDOW = 1024 * 1024

Buffer = bytes | bytearray | memoryview


class RequestFile(io.BufferedIOBase):
    """A binary file of a request; `PIL.Image.open(f)`, `zipfile.ZipFile(f)` and the like work.

    Args:
        content: The bytes. They are kept as they are, never copied or changed.
        name: Name to show; only its last part is kept.
        content_type: Media type the caller gave.
        directory: Returns the folder that `path` writes into.

    Attributes:
        name: File name as sent, without folders.
        content_type: Media type as sent.
        size: Number of bytes.
        directory: See the argument; may be set later.
    """

    def __init__(
        self,
        content: Buffer,
        name: str,
        content_type: str = OCTETS,
        directory: Callable[[], str | os.PathLike[str]] | None = None,
    ) -> None:
        self._view = memoryview(content).cast("B").toreadonly()
        self._at = 0
        self._open = True
        self._path: str | None = None
        self.name = base_name(name)
        self.content_type = content_type
        self.size = len(self._view)
        self.directory = directory

    @classmethod
    def from_any(cls, given: Any, number: int = 0) -> RequestFile:
        """Return the file that `given` stands for, exactly as a served run would see it.

        Args:
            given: A path (str or PathLike), bytes, an open binary file (read from its start; its
                position is left as it was), `(name, any of these[, content type])`, or a
                `RequestFile`.
            number: Its place among the files, for naming what has no name and for messages.

        Raises:
            MalformedBody: The path is no readable file, or it is none of these kinds.
        """
        if isinstance(given, tuple) and 2 <= len(given) <= 3 and isinstance(given[0], str):
            inner = cls.from_any(given[1], number)
            kind = given[2] if len(given) == 3 else guess_type(given[0])
            return cls(inner.getbuffer(), given[0], kind)
        if isinstance(given, RequestFile):
            return cls(given.getbuffer(), given.name, given.content_type)
        if isinstance(given, (bytes, bytearray, memoryview)):
            return cls(given, f"file{number}")
        if isinstance(given, (str, os.PathLike)):
            name = os.fspath(given)
            return cls(_read_path(name, number), name, guess_type(name))
        content = _read_stream(given, number)
        called = getattr(given, "name", None)
        name = called if isinstance(called, str) else f"file{number}"
        return cls(content, name, guess_type(name))

    @property
    def path(self) -> str:
        """Path of a copy in the run's working directory, written at the first use.

        A file that is there already is left alone; then the copy gets a number in its name.
        """
        if self._path is None or not os.path.exists(self._path):
            self._path = self._write()
        return self._path

    @property
    def closed(self) -> bool:
        """Whether the file was closed since it was last rewound."""
        return not self._open

    def rewind(self) -> RequestFile:
        """Make the file as good as new: open and at its start. Return it."""
        self._open = True
        self._at = 0
        return self

    def close(self) -> None:
        """Close the file until `rewind`; the bytes stay."""
        self._open = False

    def getbuffer(self) -> memoryview:
        """Return all bytes without a copy, read-only, wherever the position is."""
        return self._view

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes from the start."""
        self._check_open()
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset` from the start (0), the position (1) or the end (2); return where."""
        self._check_open()
        if whence not in (0, 1, 2):
            raise io.UnsupportedOperation(f"whence is {whence}; it must be 0, 1 or 2")
        self._at = max(0, offset + (0, self._at, self.size)[whence])
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes from the position, all of the rest by default."""
        self._check_open()
        end = self.size if size is None or size < 0 else min(self._at + size, self.size)
        taken = bytes(self._view[self._at : end])
        self._at += len(taken)
        return taken

    def read1(self, size: int = -1, /) -> bytes:
        """Same as `read`: all bytes are in memory."""
        return self.read(size)

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` from the position and return how many bytes it got."""
        self._check_open()
        target = memoryview(buffer).cast("B")
        taken = self._view[self._at : self._at + len(target)]
        target[: len(taken)] = taken
        self._at += len(taken)
        return len(taken)

    def readinto1(self, buffer: Any, /) -> int:
        """Same as `readinto`: all bytes are in memory."""
        return self.readinto(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        r"""Return bytes up to and with the next `\n`, `size` at most."""
        self._check_open()
        found = find_bytes(self._view, b"\n", self._at)
        line = self.size if found < 0 else found + 1
        most = line if size is None or size < 0 else min(line, self._at + size)
        return self.read(most - self._at)

    def __repr__(self) -> str:
        return f"<RequestFile {self.name!r}, {self.content_type}, {self.size} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A function may `save` a file or send it to a process pool; its folder stays behind.
        return (RequestFile, (bytes(self._view), self.name, self.content_type))

    def _check_open(self) -> None:
        if not self._open:
            self._checkClosed()  # raises what io raises

    def _write(self) -> str:
        if self.directory is None:
            raise InternalError(f"The file {self.name!r} has no working directory yet.")
        folder = os.path.abspath(self.directory())
        stem, suffix = os.path.splitext(self.name)
        number = 0
        while True:
            path = os.path.join(folder, f"{stem}-{number}{suffix}" if number else self.name)
            try:
                with open(path, "xb") as out:
                    out.write(self._view)
            except FileExistsError:
                number += 1
            else:
                return path


def base_name(name: str, fallback: str = "file") -> str:
    """Return the last part of `name`, without control characters and at most 200 bytes long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    if not last.isprintable():
        last = "".join(c for c in last if c.isprintable())
    if last.strip(" .") == "":
        return fallback
    if len(last) * 4 > _NAME_BYTES and len(last.encode("utf-8", "replace")) > _NAME_BYTES:
        stem, suffix = os.path.splitext(last)
        suffix = suffix.encode("utf-8", "replace")[:20].decode("utf-8", "ignore")
        room = _NAME_BYTES - len(suffix.encode())
        last = stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + suffix
    return last


def guess_type(name: str) -> str:
    """Return the media type that goes with a file name, or `application/octet-stream`."""
    return mimetypes.guess_type(base_name(name))[0] or OCTETS


def find_bytes(view: memoryview, needle: bytes, start: int) -> int:
    """Return where `needle` begins in `view` at or after `start`, or -1.

    A view has no search of its own. Small pieces are copied and searched, each twice as long as
    the one before, so that the whole is never copied at once and a near hit costs little.
    """
    window = _FIRST_WINDOW
    total = len(view)
    overlap = len(needle) - 1
    while start < total:
        found = bytes(view[start : start + window + overlap]).find(needle)
        if found >= 0:
            return start + found
        start += window
        window = min(2 * window, _LAST_WINDOW)
    return -1


def _read_path(path: str, number: int) -> bytes:
    try:
        with open(path, "rb") as source:
            return source.read()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MalformedBody(
            f"files[{number}] is {path!r}, which cannot be read: {reason}.",
            hint=f"Paths are looked up from {os.getcwd()}.",
        ) from None


def _read_stream(given: Any, number: int) -> bytes:
    read = getattr(given, "read", None)
    if read is None:
        raise _not_a_file(given, number)
    back = given.tell() if getattr(given, "seekable", bool)() else None
    if back is not None:
        given.seek(0)
    content = read()
    if back is not None:
        given.seek(back)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise _not_a_file(given, number)
    return bytes(content)


def _not_a_file(given: Any, number: int) -> MalformedBody:
    text = " opened in text mode" if isinstance(given, io.TextIOBase) else ""
    return MalformedBody(
        f"files[{number}] is a {type(given).__name__}{text}, not a file.",
        hint='Give a path, bytes, or a file opened with open(path, "rb").',
    )
