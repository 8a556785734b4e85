"""The server's end of a worker's data socket: call frames out, replies in.

An extra gateway has one too, to the server process. See `frame_socket` for how it reads and writes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import msgspec

from penstock.codec.frames import (
    BODY_FILE,
    HAS_FD,
    MEDIA_ARROW,
    MEDIA_JSON,
    Reply,
    call_header,
    fd_size,
    read_replies,
)
from penstock.codec.light import is_light
from penstock.core.errors import InternalError
from penstock.engine.base import Call, FileBody
from penstock.engine.local import failures
from penstock.engine.local.frame_socket import FrameSocket

OnReplies = Callable[[list[tuple[Reply, bytes | memoryview | None]]], None]

#: Largest body when nobody says, in bytes.
_NO_LIMIT = 1 << 62

#: Stands in for an error that is too much to be read.
_HEAVY = msgspec.json.encode(
    {"error": InternalError("The worker told of an error at too great length.").to_dict()}
)


class Channel(FrameSocket):
    """One worker's data socket.

    Args:
        loop: The server's loop.
        sock: Our end; closed by `close`.
        on_replies: Gets replies with their bodies, in the order sent; None for one too large.
        on_end: Called once with the reason when the worker closed its end or sent garbage.
        max_body: Largest body in bytes, `INLINE_LIMIT` or more.
        most_media: The last kind of body that the other end may send.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_replies: OnReplies,
        on_end: Callable[[str], None],
        max_body: int = _NO_LIMIT,
        most_media: int = MEDIA_ARROW,
    ) -> None:
        super().__init__(loop, sock, on_end)
        self._on_replies = on_replies
        self._max_body = max_body
        self._most_media = most_media
        self._replies: list[Reply] = []

    def send(self, call_id: int, call: Call) -> None:
        """Send a call at the end of this turn of the loop."""
        if not self._open:
            return
        body = call.body
        data = body.data
        run_id, media = call.run_id.encode("ascii"), call.media_type
        if data is None:
            self._send_large(call_id, call, run_id)
        else:
            head = call_header(
                call_id, run_id, call.flags, call.arrived_ns, call.deadline_ns, media, len(data)
            )
            self._parts += (head, data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _send_large(self, call_id: int, call: Call, run_id: bytes) -> None:
        """Queue a frame whose body goes as a copy of the descriptor."""
        flags = call.flags | HAS_FD
        if type(call.body) is FileBody:
            flags |= BODY_FILE
        media = call.media_type
        head = call_header(call_id, run_id, flags, call.arrived_ns, call.deadline_ns, media, 8)
        self._queue_with(head + fd_size(call.body.size), os.dup(call.body.fd))

    def _parse(self, data: memoryview) -> int:
        self._replies = []
        return read_replies(data, self._replies, self._most_media)

    def _deliver(self) -> None:
        replies, self._replies = self._replies, []
        self._on_replies([self._with_body(reply) for reply in replies])

    def _with_body(self, reply: Reply) -> tuple[Reply, bytes | memoryview | None]:
        body: bytes | memoryview | None = reply.body
        if body is None:
            if reply.body_size > self._max_body:
                os.close(self._next_fd())
                return reply, None
            try:
                body = self._read_file(reply.body_size)
            except OSError as error:
                return _unread(reply, error)
        # Errors are read by us, and shown to people; of results only the beginning is.
        return reply, body if not reply.code or is_light(body) else _HEAVY


def _unread(reply: Reply, error: OSError) -> tuple[Reply, bytes]:
    """Return what is answered in place of a reply whose memory file cannot be read."""
    why = failures.no_room(error)
    told = msgspec.json.encode({"error": why.to_dict()})
    return reply._replace(media=MEDIA_JSON, code=why.code.encode("ascii")), told
