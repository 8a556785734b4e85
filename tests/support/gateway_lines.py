"""A server with extra gateways: its processes, and kept connections that reach each of them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 20.0

#: Processes that take connections: the server and two more.
GATEWAYS = 3


def gateways_of(server: Any) -> list[int]:
    """Return the process ids of the extra gateways, once each of them accepts connections."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        found = [int(pid) for pid in children if is_gateway(pid)]
        if len(found) == GATEWAYS - 1 and all(reached(server, pid) for pid in found):
            return found
        assert time.monotonic() < deadline, server.log


def is_gateway(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return b"gateway_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def sockets_of(pid: int) -> int:
    links = []
    with contextlib.suppress(OSError):  # it ended
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(fd))
    return sum(link.startswith("socket:") for link in links)


def reached(server: Any, pid: int) -> bool:
    """Whether new connections get to a process."""
    before = sockets_of(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(8 * GATEWAYS):
            line = stack.enter_context(Line(server))
            line.connection.sendall(b"G")  # the beginning of some request
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            if sockets_of(pid) > before:
                return True
    return False


class Line:
    """A kept connection."""

    def __init__(self, server: Any) -> None:
        address = urlsplit(server.url)
        self.connection = socket.create_connection((address.hostname, address.port), PATIENCE_S)
        self._file = self.connection.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.connection.close()

    def ask(self, data: bytes) -> tuple[int, bytes]:
        self.connection.sendall(data)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        first = self._file.readline()
        if not first:
            raise ConnectionResetError
        size = 0
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name == b"content-length":
                size = int(value)
        return int(first.split()[1]), self._file.read(size)


def request(
    name: str,
    key: str,
    body: bytes = b"[[2.0]]",
    method: str = "POST",
    path: str = "",
    media_type: str = "application/json",
    chunked: bool = False,
) -> bytes:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        f"{method} {path or f'/v1/default/{name}/predict'} HTTP/1.1\r\nHost: test\r\n"
        f"Authorization: {key}\r\nContent-Type: {media_type}\r\n{length}\r\n\r\n"
    )
    return head.encode() + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
