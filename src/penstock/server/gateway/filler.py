"""Receives the rest of a large body straight into its file: no bytes object is made on the way.

Stands for the connection's protocol while a body comes (`asyncio.BufferedProtocol`), and puts that
back when the body is whole or nobody wants it any more. Begun by `protocol`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from penstock.server.gateway.body import BodySink

#: Bytes read at once when the body is no longer wanted.
_SCRATCH = 64 * 1024


class Filled(Protocol):
    """The connection a body is received for."""

    def filled(self) -> None:
        """The body is whole."""

    def wants(self, sink: BodySink) -> bool:
        """Whether the body is still to be received."""

    def data_received(self, data: bytes) -> None:
        """Take bytes that belong to no body."""


class Filler(asyncio.BufferedProtocol):
    """Fills one body.

    Args:
        connection: The connection's own protocol.
        transport: Its transport.
        sink: Where the body goes.
        left: Bytes still to come.
    """

    __slots__ = ("_connection", "_left", "_room", "_sink", "_transport")

    def __init__(
        self, connection: Filled, transport: asyncio.Transport, sink: BodySink, left: int
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._sink = sink
        self._left = left

    @staticmethod
    def can_fill(transport: asyncio.Transport, sink: BodySink) -> bool:
        """Whether bytes can be received into the sink: it has room, and they are not encrypted."""
        return sink.room() is not None and transport.get_extra_info("ssl_object") is None

    def begin(self) -> None:
        """Stand in for the connection's protocol."""
        self._switch(self)

    def _switch(self, protocol: asyncio.BaseProtocol) -> None:
        transport = self._transport
        transport.set_protocol(protocol)
        if transport.is_reading():  # uvloop asks a protocol what it is when reading begins
            transport.pause_reading()
            transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:  # noqa: ARG002
        """Return where the next bytes go."""
        if self._connection.wants(self._sink):
            room = self._sink.room()
            if room is not None:
                self._room: bytearray | None = None
                return room
        self._room = bytearray(_SCRATCH)
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of `nbytes` that were received."""
        if self._room is not None:
            self._switch(cast("asyncio.BaseProtocol", self._connection))
            self._connection.data_received(bytes(memoryview(self._room)[:nbytes]))
            return
        self._sink.received(nbytes)
        self._left -= nbytes
        if not self._left:
            self._switch(cast("asyncio.BaseProtocol", self._connection))
            self._connection.filled()

    # --- everything else is the connection's ---

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection."""
        cast("asyncio.Protocol", self._connection).connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Tell the connection."""
        return cast("asyncio.Protocol", self._connection).eof_received()

    def pause_writing(self) -> None:
        """Tell the connection."""
        cast("asyncio.Protocol", self._connection).pause_writing()

    def resume_writing(self) -> None:
        """Tell the connection."""
        cast("asyncio.Protocol", self._connection).resume_writing()
