"""Answers on their way out: those of one turn of the loop are written together, at its end.

A worker answers many calls at a time. Were each written as it is made ready, the first would wake
its client, which then takes the core from the answers behind it.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections import deque
from collections.abc import Callable

Data = bytes | memoryview

_SIZE = struct.Struct("i")


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return how much of what was written is still to go out, 0 only if none of it is here.

    An encrypted connection does not tell of the transport beneath it, which has bytes left only
    while the kernel takes no more: there the kernel's count too is in it.
    """
    size = transport.get_write_buffer_size()
    if transport.get_extra_info("ssl_object") is None:
        return size
    sock = transport.get_extra_info("socket")
    return size + (_kernel_bytes(sock.fileno()) if sock is not None else 0)


def _kernel_bytes(fd: int) -> int:
    """Return how many bytes of a socket the peer has not confirmed, 0 where that is not told."""
    try:
        told = fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(_SIZE.size))
    except (OSError, ValueError):
        return 0
    size: int = _SIZE.unpack(told)[0]
    return size


def _at_the_end_of_the_turn(write: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(write)


class Writes:
    """What the connections of a gateway have to write, oldest first.

    Args:
        later: Has a function called at the end of this turn of the loop.
    """

    __slots__ = ("_later", "_waiting")

    def __init__(
        self, later: Callable[[Callable[[], None]], None] = _at_the_end_of_the_turn
    ) -> None:
        self._later = later
        self._waiting: deque[tuple[asyncio.Transport, Data]] = deque()

    def add(self, transport: asyncio.Transport, data: Data) -> None:
        """Write `data` at the end of this turn of the loop."""
        if not self._waiting:
            self._later(self.write)
        self._waiting.append((transport, data))

    def write(self) -> None:
        """Write now what waits; what belongs to a connection that is gone is dropped."""
        waiting = self._waiting
        try:
            while waiting:
                transport, data = waiting.popleft()
                if not transport.is_closing():
                    transport.write(data)
        finally:
            if waiting:  # one connection failed: the others still get theirs
                self._later(self.write)
