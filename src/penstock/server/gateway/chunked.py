"""Where a chunked request body ends.

The app's own parser decodes the chunks; the gateway only has to know which byte is the body's last
one, so that the next request on the connection is not taken for a part of this one. Anything that
two readers could understand differently is refused.
"""

from __future__ import annotations

import re

from penstock.core.errors import MalformedBody

#: Longest line of a size (with extensions) or of a trailer field, and most trailer bytes.
_LINE_LIMIT = 1024
_TRAILER_LIMIT = 8 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class ChunkedEnd:
    """Follows one chunked body. `size` is the number of data bytes so far."""

    __slots__ = ("_left", "_line", "_trailers", "size")

    def __init__(self) -> None:
        self.size = 0
        self._left = 0  # bytes left of the chunk, its CRLF included; 0 while reading a line
        self._line = b""
        self._trailers = -1  # bytes of trailer fields so far; -1 before the last chunk

    def find(self, data: bytes, at: int = 0) -> int:
        """Return the index in `data` just behind the body's last byte, or -1 if it goes on.

        Args:
            data: The next bytes of the connection.
            at: Where in `data` the body begins or goes on.

        Raises:
            MalformedBody: The body is not properly chunked.
        """
        while at < len(data):
            if self._left:
                at = self._pass(data, at)
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            if len(self._line) > _LINE_LIMIT:
                raise MalformedBody("A chunk's size line is too long.")
            if end < 0:
                return -1
            at = end + 1
            if self._take_line():
                return at
        return -1

    def _pass(self, data: bytes, at: int) -> int:
        """Step over chunk data; its CRLF is checked byte by byte."""
        step = min(self._left, len(data) - at)
        for back in (2, 1):
            where = at + self._left - back
            if at <= where < at + step and data[where] != b"\r\n"[2 - back]:
                raise MalformedBody("A chunk does not end where its size says.")
        self._left -= step
        return at + step

    def _take_line(self) -> bool:
        """Take a whole line; return whether the body is at its end."""
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise MalformedBody("A line of the chunked body ends without CRLF.")
        line = line[:-2]
        if self._trailers >= 0:
            return self._take_trailer(line)
        match = _SIZE.fullmatch(line)
        if match is None:
            raise MalformedBody("A chunk's size is not a hexadecimal number.")
        size = int(match.group(1), 16)
        self.size += size
        if size:
            self._left = size + 2
        else:
            self._trailers = 0
        return False

    def _take_trailer(self, line: bytes) -> bool:
        if not line:
            return True
        self._trailers += len(line)
        if self._trailers > _TRAILER_LIMIT or not _TRAILER.fullmatch(line):
            raise MalformedBody("The trailer fields of the chunked body are too long or malformed.")
        return False
