"""Connections that change hands: from an extra gateway to the server process.

An extra gateway answers predict calls only. At the first request of a connection that is anything
else, the connection itself (its descriptor, with what was read and not answered) goes to the server
process, which answers that request and all later ones as if it had accepted the connection. One
packet of a seqpacket socket per connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.codec import memfile
from penstock.core.errors import Overloaded
from penstock.server.gateway.protocol import GatewayProtocol

if TYPE_CHECKING:
    from penstock.server.gateway.listen import Gateway

#: More bytes than this travel in a memory file beside the connection.
_PACKET = 32 * 1024

_TAKEN_AT_ONCE = 32


class Handover:
    """An extra gateway's end.

    Args:
        loop: The process's loop.
        sock: To the server process's `Adoption`; closed by `close`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._queue: deque[tuple[bytes, list[int]]] = deque()

    def give(self, connection: int, early: bytes) -> None:
        """Hand over a connection.

        Args:
            connection: A descriptor of it, of which a copy is handed over.
            early: What was read from it and not answered.

        Raises:
            Overloaded: There is no descriptor left for that; nothing is handed over.
        """
        fds: list[int] = []
        try:
            fds.append(os.dup(connection))
            if len(early) > _PACKET:
                fds.append(memfile.create((early,))[0])
                early = b""
        except OSError as error:
            _close(fds)
            raise _not_handed(error) from None
        self._queue.append((early, fds))
        if len(self._queue) == 1:
            self._send()

    def _send(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        while self._queue:
            early, fds = self._queue[0]
            try:
                # An empty packet would be the end of the conversation.
                socket.send_fds(self._sock, [b"+" + early], fds)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._send)
                return
            except OSError:  # the server process is gone, and we follow
                self.close()
                return
            self._queue.popleft()
            _close(fds)

    def close(self) -> None:
        """Close the socket and whatever was not handed over."""
        if self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
        for _early, fds in self._queue:
            _close(fds)
        self._queue.clear()


class Adoption:
    """The server process's end.

    Args:
        loop: The server's loop.
        sock: From an extra gateway's `Handover`; closed by `close`.
        gateway: Whose connections they become.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, gateway: Gateway
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._gateway = gateway
        self._tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_TAKEN_AT_ONCE):
            try:
                data, fds, _flags, _peer = socket.recv_fds(self._sock, _PACKET + 1, 2, _CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                _close(fds)
                self.close()
                return
            self._take(data[1:], fds)

    def _take(self, early: bytes, fds: list[int]) -> None:
        if len(fds) > 1:
            size = os.fstat(fds[1]).st_size
            early = bytes(memfile.read(fds[1], size, trusted=False))
            os.close(fds[1])
        task = self._loop.create_task(self._adopt(socket.socket(fileno=fds[0]), early))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, connection: socket.socket, early: bytes) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(
                lambda: _Adopted(self._gateway, early, self._loop.call_soon), connection
            )
        except OSError:  # the client is gone already
            connection.close()

    def close(self) -> None:
        """Take no more connections."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()


class _Adopted(GatewayProtocol):
    """A connection that another process accepted and read `early` from."""

    __slots__ = ("_call_soon", "_early")

    def __init__(
        self, gateway: Gateway, early: bytes, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        super().__init__(gateway)
        self._early = early
        self._call_soon = call_soon

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._call_soon(self._begin)

    def _begin(self) -> None:
        if self._early:
            self.data_received(b"")
        if self._gateway.draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Take bytes; what was read before, by the other process, comes first."""
        if self._early:
            data, self._early = self._early + data, b""
        super().data_received(data)


def _not_handed(error: OSError) -> Overloaded:
    return Overloaded(
        f"The connection could not be handed to the server process: {error.strerror}.",
        hint="Try again, or raise the limit of open files of the server's processes.",
        retry_after_s=1,
    )


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
