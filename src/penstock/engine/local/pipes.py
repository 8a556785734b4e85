"""The sockets between the server and one worker: both ends, made by the server.

data, control and memory are unix stream sockets (see `penstock.codec.frames`), log is a pipe for
what the worker prints, page is the shared page of `begun`.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import NamedTuple

from penstock.engine.local import begun

#: Asked of the kernel for the data socket, so that a whole batch fits; it may grant less.
_DATA_BUFFER = 4 * 1024 * 1024


class ChildEnds(NamedTuple):
    """Descriptors of the worker's ends, in the order in which they travel."""

    data: int
    control: int
    memory: int
    log: int
    page: int

    def close(self) -> None:
        """Close all of them in this process."""
        for fd in self:
            os.close(fd)


class TemplateEnds(NamedTuple):
    """Descriptors of a template's ends: its seqpacket socket and what it prints to."""

    control: int
    log: int


class ServerEnds:
    """The server's ends; non-blocking."""

    def __init__(
        self,
        data: socket.socket,
        control: socket.socket,
        memory: socket.socket,
        log: int,
        page: int,
    ) -> None:
        self.data = data
        self.control = control
        self.memory = memory
        self.log = log
        self.page = page

    def close(self) -> None:
        """Close all of them: no worker came to use the others."""
        for sock in (self.data, self.control, self.memory):
            sock.close()
        os.close(self.log)
        os.close(self.page)


def create() -> tuple[ServerEnds, ChildEnds]:
    """Return both ends of everything between the server and one new worker.

    Raises:
        OSError: There are no descriptors left; nothing stays open.
    """
    with ExitStack() as undo:

        def pair() -> tuple[socket.socket, int]:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(ours.close)
            ours.setblocking(False)
            return ours, keep(theirs.detach())

        def keep(fd: int) -> int:
            undo.callback(os.close, fd)
            return fd

        data, data_fd = pair()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            data.setsockopt(socket.SOL_SOCKET, option, _DATA_BUFFER)
        control, control_fd = pair()
        memory, memory_fd = pair()
        log_read, log_write = map(keep, os.pipe())
        os.set_blocking(log_read, False)
        page = keep(begun.create())
        ours = ServerEnds(data, control, memory, log_read, page)
        theirs = ChildEnds(data_fd, control_fd, memory_fd, log_write, keep(os.dup(page)))
        undo.pop_all()
    return ours, theirs
