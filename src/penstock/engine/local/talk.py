"""The server's ends of a worker's control and memory sockets: length-prefixed messages.

A worker is not trusted: message sizes are bounded and anything unreadable ends the conversation.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from penstock.codec.frames import (
    MESSAGE_LIMIT,
    FromWorker,
    pack_message,
    split_frames,
    unpack_message,
)
from penstock.codec.memory import MemoryAnswer, MemoryRequest, Refused
from penstock.core.errors import FrameError, InternalError, PenstockError
from penstock.engine.base import MemoryHandler, VersionKey

_log = logging.getLogger(__name__)

#: Largest memory request: a publish of many values; the store's own quota is far below.
MEMORY_LIMIT = 64 * 1024 * 1024


class Control:
    """The control socket. Messages that cannot be sent at once are kept in order."""

    def __init__(self, sock: socket.socket, on_message: Callable[[FromWorker], None]) -> None:
        self._sock = sock
        self._on_message = on_message
        self._writer: asyncio.StreamWriter | None = None
        self._early: list[bytes] = []

    async def listen(self) -> None:
        """Hand over every message until the worker closes its end.

        Raises:
            FrameError: The worker sent something that is no message.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=self._sock)
        self._writer.writelines(self._early)
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "little")
                if size > MESSAGE_LIMIT:
                    raise FrameError(f"A message of {size} bytes is announced.")
                self._on_message(unpack_message(await reader.readexactly(size), FromWorker))
        except (asyncio.IncompleteReadError, OSError):
            return

    def send(self, message: msgspec.Struct) -> None:
        """Send a message, now or as soon as the socket takes it."""
        if self._writer is not None:
            self._writer.write(pack_message(message))
        else:
            self._early.append(pack_message(message))

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
    try:
        while data := await loop.sock_recv(sock, 65536):
            buffer += data
            for frame in split_frames(buffer, MEMORY_LIMIT):
                request: MemoryRequest = unpack_message(frame, MemoryRequest)
                answer = await _answer(key, request, handler)
                await loop.sock_sendall(sock, pack_message(answer))
    except OSError:
        return


async def _answer(key: VersionKey, request: Any, handler: MemoryHandler) -> MemoryAnswer:
    try:
        return await handler(key, request)
    except PenstockError as error:
        return Refused(error.to_dict())
    except Exception:  # noqa: BLE001 - a defect of the store must not end the conversation
        _log.exception("The memory store failed for %s.", key)
        defect = InternalError("The memory store failed; the server's log has the details.")
        return Refused(defect.to_dict())
