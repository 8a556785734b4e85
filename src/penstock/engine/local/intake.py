"""The worker's ends of the data socket: calls in, replies out. Used by `worker` only.

Everything here blocks; the worker's main thread owns it.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

import msgspec

from penstock.codec import memfile
from penstock.codec.body_files import Mappings
from penstock.codec.frames import (
    BODY_FILE,
    FRAME_LIMIT,
    HAS_FD,
    INLINE_LIMIT,
    MEDIA_JSON,
    CallFrame,
    ReplyFrame,
    fd_size,
    read_calls,
    reply_header,
)
from penstock.core.errors import InternalError
from penstock.engine.local.watch import Watch

_BUFFER = 1 << 20
_FDS = socket.CMSG_SPACE(8 * array.array("i").itemsize)
_INT = array.array("i").itemsize


def descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message, as the receiver's numbers."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _INT])
    return found.tolist()


class Intake:
    """Calls as they arrive. A call's body stays valid as long as somebody refers to it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(max(_BUFFER, FRAME_LIMIT + 4))
        self._view = memoryview(self._buffer)
        self._have = 0
        self._fds: deque[int] = deque()
        self._mappings = Mappings()
        self._watch = Watch(sock)
        self.ended = False

    def wait(self) -> list[CallFrame]:
        """Return the calls that wait in the socket; block while there is none.

        Returns:
            In order of arrival; empty only when the server will send no more (`ended`).
        """
        calls: list[CallFrame] = []
        self._watch.begin()
        while not calls and not self.ended:
            self._receive(calls, 0)
        self._watch.end()
        return calls

    def poll(self, calls: list[CallFrame]) -> None:
        """Append to `calls` what has arrived in the meantime, without waiting."""
        try:
            self._receive(calls, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def _receive(self, calls: list[CallFrame], flags: int) -> None:
        room = self._view[self._have :]
        size, ancillary, _, _ = self._sock.recvmsg_into([room], _FDS, flags | _CLOEXEC)
        if ancillary:
            self._fds.extend(descriptors(ancillary))
        if not size:
            self.ended = True
            return
        self._have += size
        data = bytes(self._view[: self._have])
        first = len(calls)
        taken = read_calls(data, calls)
        self._have -= taken
        if self._have:
            self._view[: self._have] = data[taken:]
        if self._fds:
            self._attach(calls, first)

    def _attach(self, calls: list[CallFrame], first: int) -> None:
        for index in range(first, len(calls)):
            call = calls[index]
            if call.flags & HAS_FD:
                fd = self._fds.popleft()
                try:
                    body = self._read(call, fd)
                finally:
                    os.close(fd)
                calls[index] = call._replace(body=body)

    def _read(self, call: CallFrame, fd: int) -> memoryview:
        """Return the bytes of a large body; a copy where the file is used again."""
        if call.flags & BODY_FILE:
            return memoryview(self._mappings.copy(fd, call.body_size))
        return memfile.read(fd, call.body_size, trusted=True)


class Outbox:
    """Replies on their way; small ones are joined and leave with one system call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: list[bytes] = []

    def add(self, reply: ReplyFrame) -> None:
        """Take one reply; `flush` sends it. One that no file can be made for becomes an error."""
        call_id, code, media, timing, body = reply
        size = len(body)
        if size <= INLINE_LIMIT:
            self._parts += (reply_header(call_id, 0, media, code, timing, size), body)
            return
        self.flush()
        try:
            fd, size = memfile.create((body,))
        except OSError as error:
            self.add(_not_sent(call_id, size, timing, error))
            return
        try:
            head = reply_header(call_id, HAS_FD, media, code, timing, 8) + fd_size(size)
            self._send_with(head, fd)
        finally:
            os.close(fd)

    def flush(self) -> None:
        """Send everything taken so far."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._sock.sendall(data)

    def _send_with(self, head: bytes, fd: int) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        sent = self._sock.sendmsg([head], [rights])
        if sent < len(head):
            self._sock.sendall(head[sent:])


def _not_sent(call_id: int, size: int, timing: bytes, why: OSError) -> ReplyFrame:
    """Return the answer to a call whose own has no file to travel in."""
    error = InternalError(
        f"The answer of {size} bytes could not leave the worker: there is no file for it ({why}).",
        hint="Most often the functions leave files or connections open until the worker has no "
        "file descriptor left: close them.",
    )
    body = msgspec.json.encode({"error": error.to_dict()})
    return ReplyFrame(call_id, b"internal", MEDIA_JSON, timing, body)


_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
