"""The server's side of the process that writes predictions: starts it, sends to it, ends it."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from penstock.engine.local.exits import Child
from penstock.engine.local.processes import start_process

#: Seconds it gets to write what it has when the server stops.
PATIENCE_S = 15.0


class PredictionWriter:
    """One process that writes predictions. Methods run on the event loop.

    Args:
        folder: Folder of the prediction log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        fd = theirs.fileno()
        command = [sys.executable, "-m", "penstock.wiring.logger_process", str(fd), str(folder)]
        try:
            pid = start_process(command, (fd,), folder, 2, own_session=False)
        finally:
            theirs.close()
        self._sock = ours
        self._ended = asyncio.Event()
        self._child = Child(self._loop, pid, lambda _child: self._on_exit())
        self._waiting = bytearray()
        self._is_open = True
        self._is_last = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def is_there(self) -> bool:
        """Whether it can take anything."""
        return self._is_open

    def waiting(self) -> int:
        """Return the bytes it has been sent and has not read yet."""
        return len(self._waiting)

    def send(self, packed: bytes) -> None:
        """Send bytes, as fast as it reads them."""
        if not self._is_open:
            return
        if not self._waiting:
            self._loop.add_writer(self._sock.fileno(), self._write)
        self._waiting += packed

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._waiting)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._shut()
            return
        del self._waiting[:sent]
        if not self._waiting:
            self._loop.remove_writer(self._sock.fileno())
            if self._is_last:
                self._shut()

    def _shut(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_writer(self._sock.fileno())
            self._waiting.clear()
            self._sock.close()

    def _on_exit(self) -> None:
        self._shut()
        self._ended.set()

    async def close(self) -> None:
        """Send what waits, let the process write it, and end it if it takes too long."""
        if self._is_open and not self._waiting:
            self._shut()
        self._is_last = True
        try:
            await asyncio.wait_for(self._ended.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            self._child.kill()
            await self._ended.wait()
