"""The server's ends of a worker's control and memory sockets: length-prefixed messages.

A worker is not trusted: message sizes are bounded and anything unreadable ends the conversation.
Nor may one that talks without end keep the others waiting: what it says is taken bit by bit.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from penstock.codec.frames import split_frames
from penstock.codec.light import MOST_BYTES
from penstock.codec.memory import (
    REQUEST_LIMIT,
    Refused,
    Upload,
    WorkerAnswer,
    WorkerRequest,
)
from penstock.codec.worker_messages import FromWorker, pack_message, unpack_message
from penstock.core.errors import FrameError, InternalError, PenstockError
from penstock.engine.base import MemoryHandler, VersionKey
from penstock.engine.local import worker_facts
from penstock.engine.local.intake import descriptors

_log = logging.getLogger(__name__)

#: Largest message of a worker about itself.
_TOLD_LIMIT = MOST_BYTES + 1024

#: Times as long as it took to take a message that the next one waits, and the longest wait in
#: seconds: a worker's messages may have 2 % of the server.
_REST, _LONGEST_REST_S = 50, 1.0

#: Memory requests that are answered before others get their turn.
_AT_ONCE = 16

_FD_SPACE = socket.CMSG_SPACE(4 * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Control:
    """The control socket. Messages that cannot be sent at once are kept in order."""

    def __init__(
        self, sock: socket.socket, on_message: Callable[[FromWorker, dict[str, Any]], None]
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._writer: asyncio.StreamWriter | None = None
        self._early: list[bytes] = []

    async def listen(self) -> None:
        """Hand over every message, and what it tells, until the worker closes its end.

        Raises:
            FrameError: The worker sent something that is no message.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=self._sock)
        self._writer.writelines(self._early)
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "little")
                if size > _TOLD_LIMIT:
                    raise FrameError(f"A message of {size} bytes is announced.")
                packed = await reader.readexactly(size)
                began = time.thread_time()
                message = unpack_message(packed, FromWorker)
                self._on_message(message, worker_facts.read(message.told))
                rest_s = _REST * (time.thread_time() - began)
                await asyncio.sleep(min(rest_s, _LONGEST_REST_S))
        except (asyncio.IncompleteReadError, OSError):
            return

    def send(self, message: msgspec.Struct) -> None:
        """Send a message, now or as soon as the socket takes it; never to one that hung up."""
        if self._writer is None:
            self._early.append(pack_message(message))
        elif not self._writer.is_closing():  # uvloop raises where it is closed
            self._writer.write(pack_message(message))

    def close(self) -> None:
        """Close the socket."""
        if self._writer is not None:
            self._writer.close()
        else:
            self._sock.close()


async def serve_memory(sock: socket.socket, key: VersionKey, handler: MemoryHandler) -> None:
    """Answer the memory requests of a worker, one after the other, until it closes its end.

    Raises:
        FrameError: The worker sent something that is no request.
    """
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    with _Descriptors() as fds:
        try:
            while data := await _receive(loop, sock, fds):
                buffer += data
                for number, frame in enumerate(split_frames(buffer, REQUEST_LIMIT), 1):
                    answer = await _answer(key, _request(frame, fds), handler)
                    fds.close_one()
                    await loop.sock_sendall(sock, pack_message(answer))
                    if not number % _AT_ONCE:
                        await asyncio.sleep(0)
        except OSError:
            return


class _Descriptors:
    """The descriptor that came with the present request: one at most, closed in any case."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def __enter__(self) -> _Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self.close_one()

    def add(self, found: list[int]) -> None:
        self._open += found
        if len(self._open) > 1:
            raise FrameError("More descriptors come than there are requests.")

    def first(self) -> int:
        if not self._open:
            raise FrameError("An upload comes without its file.")
        return self._open[0]

    def close_one(self) -> None:
        if self._open:
            os.close(self._open.pop(0))


async def _receive(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, fds: _Descriptors
) -> bytes:
    """Return what the worker wrote, empty at its end; its descriptors go to `fds`."""
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(65536, _FD_SPACE, _CLOEXEC)
        except BlockingIOError:
            await _readable(loop, sock)
            continue
        if ancillary:
            fds.add(descriptors(ancillary))
        return data


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    waiting: asyncio.Future[None] = loop.create_future()
    number = sock.fileno()
    loop.add_reader(number, _settle, waiting)
    try:
        await waiting
    finally:
        loop.remove_reader(number)


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _request(frame: memoryview, fds: _Descriptors) -> WorkerRequest:
    request: WorkerRequest = unpack_message(frame, WorkerRequest)
    if isinstance(request, Upload):
        # Whatever number the worker wrote is not ours to believe.
        return msgspec.structs.replace(request, fd=fds.first())
    return request


async def _answer(key: VersionKey, request: WorkerRequest, handler: MemoryHandler) -> WorkerAnswer:
    try:
        return await handler(key, request)
    except PenstockError as error:
        return Refused(error.to_dict())
    except Exception:  # noqa: BLE001 - a defect of the store must not end the conversation
        _log.exception("The memory store failed for %s.", key)
        defect = InternalError("The memory store failed; the server's log has the details.")
        return Refused(defect.to_dict())
