"""One end of a stream socket that carries frames, without blocking the event loop.

Base of `channel.Channel` (calls to a worker) and of `penstock.control.forwarded.ForwardedCalls`
(calls from an extra gateway). Frames queued within one turn of the loop leave in one system call;
what arrives is read up to a megabyte at a time. The peer is not trusted: what it sends is bounded
and checked, and anything odd ends the socket, never this process.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from penstock.codec import memfile
from penstock.codec.frames import FRAME_LIMIT
from penstock.core.errors import FrameError, InternalError
from penstock.engine.local.intake import descriptors

_log = logging.getLogger(__name__)

_READ = 1 << 20
_MAX_FDS = 64
_FD_SPACE = socket.CMSG_SPACE(8 * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

# All sockets of the process read into one buffer: nothing is left in it between two reads.
_shared = bytearray(_READ)
_shared_view = memoryview(_shared)


class FrameSocket(ABC):
    """Queues frames for the peer and takes apart what it sends.

    Args:
        loop: The process's loop.
        sock: Our end; closed by `close`.
        on_end: Called once with the reason when the peer closed its end or sent garbage.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, on_end: Callable[[str], None]
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_end = on_end
        # Small frames of this turn, to be joined; before them what must be written one by one,
        # each with the descriptor that goes with it or -1.
        self._parts: list[bytes] = []
        self._ahead: deque[tuple[bytes, int]] = deque()
        self._blocked = False
        self._flushing = False
        self._rest = b""
        self._fds: deque[int] = deque()
        self._open = True
        loop.add_reader(sock.fileno(), self._readable)

    @abstractmethod
    def _parse(self, data: memoryview) -> int:
        """Take the complete frames off the front of `data`; return how many bytes they have."""

    @abstractmethod
    def _deliver(self) -> None:
        """Hand over the frames that `_parse` took."""

    def close(self) -> None:
        """Close the socket; frames that have arrived are still handed over."""
        if not self._open:
            return
        try:
            while self._read():
                continue
        except OSError:
            self._shut()
        self._shut()

    def _shut(self) -> None:
        if not self._open:
            return
        self._open = False
        fd = self._sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._sock.close()
        for fd in (*self._fds, *(fd for _, fd in self._ahead)):
            _close(fd)
        self._fds.clear()
        self._ahead.clear()

    # --- out ---

    def _queue_with(self, frame: bytes, fd: int) -> None:
        """Queue what is before it, then a frame with a descriptor, which now belongs to us."""
        before = b"".join(self._parts)
        self._parts.clear()
        if before:
            self._ahead.append((before, -1))
        self._ahead.append((frame, fd))

    def _flush(self) -> None:
        self._flushing = False
        if self._blocked or not self._open:
            return
        try:
            while self._ahead:
                data, fd = self._ahead.popleft()
                if not self._write(data, fd):
                    return
            if self._parts:
                data = b"".join(self._parts)
                self._parts.clear()
                self._write(data, -1)
        except OSError as error:
            self._end(f"cannot be written to: {error}")

    def _write(self, data: bytes, fd: int) -> bool:
        """Write what the socket takes. If not all: keep the rest, wait for room, return False."""
        try:
            sent = self._sock.sendmsg([data], [_rights(fd)]) if fd >= 0 else self._sock.send(data)
        except BlockingIOError:
            self._wait_for_room(data, fd)
            return False
        except OSError:
            _close(fd)
            raise
        _close(fd)
        if sent < len(data):
            self._wait_for_room(data[sent:], -1)
        return sent == len(data)

    def _wait_for_room(self, unsent: bytes, fd: int) -> None:
        self._blocked = True
        self._ahead.appendleft((unsent, fd))
        self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._blocked = False
        self._flush()

    # --- in ---

    def _readable(self) -> None:
        try:
            self._read()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"cannot be read from: {error}")

    def _read(self) -> bool:
        """Read once and hand over what is complete. False when the socket is at its end."""
        rest = self._rest
        if rest:
            _shared[: len(rest)] = rest
        size, ancillary, _, _ = self._sock.recvmsg_into(
            [_shared_view[len(rest) :]], _FD_SPACE, _CLOEXEC
        )
        if ancillary:
            self._fds.extend(descriptors(ancillary))
        if not size:
            self._end("closed its socket")
            return False
        have = len(rest) + size
        try:
            taken = self._parse(_shared_view[:have])
            self._rest = bytes(_shared_view[taken:have])
            self._hand_over()
            if len(self._fds) > _MAX_FDS:
                raise FrameError("Descriptors come that belong to no frame.")
        except InternalError as error:
            self._end(f"does not speak the protocol: {error.message}")
            return False
        return True

    def _hand_over(self) -> None:
        """Deliver what arrived; what fails on its way there is no word of the socket."""
        try:
            self._deliver()
        except OSError:
            _log.exception("Frames that had arrived could not be handed over.")

    def _next_fd(self) -> int:
        """Return the descriptor of the next frame that announces one."""
        if not self._fds:
            raise FrameError("A frame announces a descriptor that did not come.")
        return self._fds.popleft()

    def _read_file(self, size: int) -> memoryview:
        """Return the bytes of the next frame's memory file."""
        fd = self._next_fd()
        try:
            return memfile.read(fd, size, trusted=False)
        finally:
            os.close(fd)

    def _end(self, reason: str) -> None:
        if self._open:
            self._shut()
            self._on_end(reason)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _rights(fd: int) -> tuple[int, int, array.array[int]]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd])


assert FRAME_LIMIT + 4 <= _READ, "a whole frame must fit in the buffer"
