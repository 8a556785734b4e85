"""The life of one connection: order of answers, back-pressure, deadlines, the end.

Base of `protocol.GatewayProtocol`, which knows what the bytes mean. Deadlines are looked at once a
second by `sweep`, never by a timer of a request's own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from penstock.core.errors import PenstockError, SlowBody
from penstock.server.gateway.addresses import too_many_connections
from penstock.server.gateway.app_request import AppSide
from penstock.server.gateway.body import BodySink
from penstock.server.gateway.exchange import Exchange
from penstock.server.gateway.respond import refusal
from penstock.server.gateway.writes import unsent_bytes

if TYPE_CHECKING:
    from penstock.server.gateway.listen import Gateway

#: Bytes held back before the client is made to wait.
_HELD_LIMIT = 64 * 1024


class Mode(Enum):
    """What the next bytes of the connection are."""

    HEAD = auto()  # the head of a request
    BODY = auto()  # the body of a predict call
    SKIP = auto()  # the body of a refused call, not kept
    APP = auto()  # a request that the app answers
    HOLD = auto()  # not looked at until answers are out
    END = auto()  # not looked at any more


class Connection(asyncio.Protocol, ABC):
    """One connection of a client.

    Args:
        gateway: What all connections share.
    """

    __slots__ = (
        "_address",
        "_app",
        "_busy",
        "_closing",
        "_expected",
        "_gateway",
        "_held",
        "_mode",
        "_partial",
        "_queue",
        "_readable",
        "_since",
        "_sink",
        "_stalled",
        "_transport",
        "_unread",
        "_wanted",
        "_writable",
        "_writes",
    )

    _transport: asyncio.Transport
    _address: str

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._mode = Mode.HEAD
        self._queue: deque[Exchange] = deque()
        self._held = b""  # received, not taken yet
        self._partial = False  # a part of a head has come
        self._sink: BodySink | None = None  # takes the body of a predict call
        self._expected = 0  # bytes in that body
        self._app: AppSide | None = None
        self._busy = False  # inside `_take`, which is not entered twice
        self._closing = False  # nothing is taken after what is in the queue
        self._unread = False  # when closing: the client may still be sending
        self._writes = gateway.writes
        self._writable = True  # the client reads what we write
        self._wanted = True  # the app takes more of its body
        self._readable = True  # the transport delivers
        self._stalled = -1  # bytes waiting to be written at the last sweep
        self._since = gateway.now  # when the present state began

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Take bytes the client sent, as far as they can be taken now; `_hold` the rest."""

    # --- events of the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no such base class
        gateway = self._gateway
        gateway.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        if gateway.addresses.add(self._address) > gateway.limits.connections_per_address:
            self._refuse(too_many_connections(self._address))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up whatever nobody waits for any more."""
        self._gateway.left(self)
        self._gateway.addresses.remove(self._address)
        self._drop_body()
        self._mode = Mode.END
        self._held = b""
        for exchange in self._queue:
            if exchange.call is not None:
                self._gateway.predictor.cancel(exchange.call)
        self._queue.clear()
        if self._app is not None:
            self._app.lost(exc)
            self._app = None

    def pause_writing(self) -> None:
        """Take no more requests: the client does not read its answers."""
        self._writable = False
        self._since = self._gateway.now
        if self._app is not None:
            self._app.writable(False)
        self._set_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._stalled = -1
        if self._app is not None:
            self._app.writable(True)
        self._go_on()

    # --- answers ---

    def flush(self) -> None:
        """Write every answer that is next in order."""
        queue = self._queue
        while queue:
            exchange = queue[0]
            if exchange.out is None:
                break
            del queue[0]
            self._writes.add(self._transport, exchange.out)
            if exchange.rest:
                self._writes.add(self._transport, exchange.rest)
        if not queue:
            self._since = self._gateway.now
            if self._closing:
                self._end()
                return
        if self._mode is Mode.HOLD:
            self._mode = Mode.HEAD
            self._go_on()

    def _refuse(self, error: PenstockError) -> None:
        """Answer what cannot be understood, or came too slowly, and close."""
        self._drop_body()
        if self._mode is Mode.APP and self._app is not None:
            self._app.refuse(error)
            return
        exchange = Exchange(self, self._gateway.wire, keep=False)
        exchange.settle(refusal(error), self._gateway.predictor.run_ids.take())
        self._queue.append(exchange)
        self._close_after_queue(unread=True)
        self.flush()

    def _drop_body(self) -> None:
        if self._sink is not None:
            self._sink.discard()
            self._sink = None

    # --- reading ---

    def _hold(self, rest: bytes) -> None:
        self._held = rest
        self._set_reading()

    def _go_on(self) -> None:
        """Take what was held back, unless `_take` is running and will."""
        if self._busy:
            return
        held, self._held = self._held, b""
        if held:
            self._take(held)
        self._set_reading()

    def _set_reading(self) -> None:
        """Stop or start the transport's reading, as the present state wants it."""
        full = len(self._held) > _HELD_LIMIT
        readable = self._mode is Mode.END or (self._writable and self._wanted and not full)
        if readable != self._readable and not self._transport.is_closing():
            self._readable = readable
            if readable:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # --- the end ---

    def _close_after_queue(self, *, unread: bool = False) -> None:
        self._closing = True
        self._unread = self._unread or unread
        if self._mode is not Mode.APP:
            self._mode = Mode.END
            self._held = b""

    def _end(self) -> None:
        """Close; a client that is still sending first gets time to read its answer."""
        self._mode = Mode.END
        self._held = b""
        self._since = self._gateway.now
        self._writes.write()
        if self._unread and self._transport.can_write_eof():
            self._transport.write_eof()
            self._set_reading()
        else:
            self._transport.close()

    def drain(self) -> None:
        """Close now if idle, else after the answers that are being made."""
        if self._mode is Mode.APP and self._app is not None:
            self._app.drain()
        elif self._mode is Mode.BODY:
            return  # its answer will close
        else:
            self._close_after_queue(unread=self._mode is Mode.SKIP)
            if self._queue:
                self._queue[-1].keep = False
            else:
                self._end()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Look at the deadlines. `now` is the gateway's clock, in seconds."""
        limits = self._gateway.limits
        waited = now - self._since
        mode = self._mode
        if not self._writable:
            self._sweep_stalled(now)
        elif mode is Mode.APP and self._app is not None:
            self._app.sweep(now)
        elif mode is Mode.BODY or mode is Mode.SKIP:
            if waited > limits.body_time(self._expected):
                self._refuse(SlowBody("The request's body did not arrive in time."))
        elif self._queue:
            return
        elif mode is Mode.END:
            self._sweep_stalled(now)
        elif self._partial:
            if waited > limits.head_s:
                self._refuse(SlowBody("The request's head did not arrive in time."))
        elif waited > limits.idle_s:
            self._end()

    def _sweep_stalled(self, now: float) -> None:
        """Cut a client that reads nothing at all, or stays when it has been sent everything."""
        limits = self._gateway.limits
        waiting = unsent_bytes(self._transport)
        if self._stalled < 0:
            self._stalled = waiting  # since it was paused, or the connection began to end
        if waiting != self._stalled:
            self._stalled = waiting
            self._since = now
        elif now - self._since > (limits.stall_s if waiting else limits.linger_s):
            if waiting:
                self._forget_unread()
            self._transport.abort()

    def _forget_unread(self) -> None:
        """Have the kernel keep no megabytes for minutes, in case they are read still."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
