"""The app's side of one connection: which bytes are its request, and what became of it.

Made by `protocol` at the first request of a connection that is not a predict call, and used for
every later one. It feeds the app exactly one request at a time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from penstock.core.errors import PenstockError, RequestError, SlowBody
from penstock.server.gateway.application import AppProtocol, AppTransport
from penstock.server.gateway.chunked import ChunkedEnd
from penstock.server.gateway.head import CHUNKED, Head
from penstock.server.gateway.limits import Limits


class AppConnection(Protocol):
    """What the app's side asks of the connection."""

    def app_finished(self) -> None:
        """Request and answer are complete; the next request may come."""

    def app_ends(self, *, unread: bool) -> None:
        """End the connection once everything is written."""

    def app_refuses(self, error: PenstockError, *, started: bool) -> None:
        """End the connection with `error`, or without a word if the answer has `started`."""

    def app_reads(self, wanted: bool) -> None:
        """Let bytes come, or not."""


class AppSide:
    """Feeds requests to the app. Implements `application.AppOwner`.

    Args:
        config: A loaded uvicorn configuration with the app.
        state: Shared by all connections.
        limits: Times for the body.
        transport: The connection's.
        connection: Its owner.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: Limits,
        transport: asyncio.Transport,
        connection: AppConnection,
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._protocol = AppProtocol(config, state, self)
        self._transport = AppTransport(transport, self)
        self._protocol.connection_made(self._transport)
        self._left = 0
        self._chunks: ChunkedEnd | None = None
        self._started = False
        self._answered = False
        self._predict = False
        self._size = 0
        self._begun = 0.0
        self._touched = 0.0
        self._reading = True
        #: Whether the whole request has been fed.
        self.complete = True

    def begin(self, head: Head, now: float) -> None:
        """Feed the head of a request. `now` is the gateway's clock, in seconds."""
        self._left = max(head.length, 0)
        self._chunks = ChunkedEnd() if head.length == CHUNKED else None
        self._started = self._answered = False
        self._predict = head.path.endswith(b"/predict")
        self._size = self._left
        self._begun = self._touched = now
        self.complete = head.length == 0
        self._protocol.data_received(head.raw)

    def feed(self, data: bytes, at: int, now: float) -> int:
        """Feed what belongs to the request's body; return the index behind it.

        Raises:
            MalformedBody: A chunked body is not properly chunked.
        """
        self._touched = now
        if self._chunks is not None:
            end = self._chunks.find(data, at)
            self._size = self._chunks.size
            self.complete = end >= 0
            end = end if end >= 0 else len(data)
        else:
            end = min(at + self._left, len(data))
            self._left -= end - at
            self.complete = not self._left
        self._protocol.data_received(data[at:end])
        if self.complete and self._answered:
            self._connection.app_finished()
        return end

    def sweep(self, now: float) -> None:
        """Give up a body that comes too slowly, unless it is the app that does not read."""
        if self.complete or not self._reading:
            return
        if self._predict:
            late = now - self._begun > self._limits.body_time(self._size)
        else:
            late = now - self._touched > self._limits.body_s
        if late:
            self.refuse(SlowBody("The request's body did not arrive in time."))

    def refuse(self, error: PenstockError) -> None:
        """Answer with `error` if the app has not begun to answer, and end the connection."""
        self._transport.silence()
        self._connection.app_refuses(error, started=self._started)

    def drain(self) -> None:
        """Let the connection end with the answer that is being made."""
        self._protocol.shutdown()

    def writable(self, able: bool) -> None:
        """Tell the app whether the client reads."""
        if able:
            self._protocol.resume_writing()
        else:
            self._protocol.pause_writing()

    def lost(self, exc: Exception | None) -> None:
        """Tell the app that the connection is gone."""
        self._protocol.connection_lost(exc)

    # --- application.AppOwner ---

    def wrote(self) -> None:
        """Note that the answer has begun."""
        self._started = True

    def answered(self) -> None:
        """Let the next request come, after what is left of this one if that is not much."""
        self._answered = True
        if self.complete:
            self._connection.app_finished()
        elif self._chunks is not None or self._left > self._limits.unread_bytes:
            self._transport.silence()
            self._connection.app_ends(unread=True)

    def closes(self) -> None:
        """End the connection."""
        self._connection.app_ends(unread=not self.complete)

    def malformed(self) -> None:
        """Refuse the request: the app's parser does not take it."""
        self.refuse(RequestError("The request is not proper HTTP: it cannot be parsed."))

    def reads(self, wanted: bool) -> None:
        """Pass on whether the app takes more of the body."""
        self._reading = wanted
        self._connection.app_reads(wanted)
