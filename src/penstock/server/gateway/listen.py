"""The listening side: what all connections share, the clock of deadlines, and the end.

`wiring.server_process` calls `create_server`; the `Gateway` it returns is closed with `close`,
which lets calls in hand finish.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from uvicorn.server import ServerState

from penstock.codec.body_files import Shelf
from penstock.control.predict import Predictor
from penstock.server.gateway.addresses import Addresses
from penstock.server.gateway.app_request import AppConnection, AppSide
from penstock.server.gateway.application import app_config
from penstock.server.gateway.connection import Connection
from penstock.server.gateway.head import HeadReader
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.protocol import GatewayProtocol
from penstock.server.gateway.respond import Wire
from penstock.server.gateway.run_desk import RunDesk
from penstock.server.gateway.writes import Writes

#: Seconds between two looks at the deadlines.
SWEEP_S = 1.0

_BACKLOG = 2048

#: Seconds for the end of an encrypted connection: those that stall in it are cut by the sweep.
_TLS_END_S = 24 * 3600.0


class ConnectionTaker(Protocol):
    """Whoever goes on with a connection in another process; see `handover.Handover`."""

    def give(self, connection: int, early: bytes) -> None:
        """Take a copy of a connection's descriptor, and what was read from it and not answered."""


class Gateway:
    """What the connections of one server share.

    Args:
        predictor: Route table and key check.
        app: The ASGI app that answers everything else.
        limits: What is accepted from a connection.
        clock: Seconds that only grow; deadlines are measured with it.
        desk: Takes calls that name a webhook; without one they are answered at once.
        handover: Takes the connections that ask for anything but predict calls; only in an extra
            gateway, which has no app.
    """

    def __init__(
        self,
        predictor: Predictor,
        app: Any,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        desk: RunDesk | None = None,
        handover: ConnectionTaker | None = None,
    ) -> None:
        self.predictor = predictor
        self.desk = desk
        self.handover = handover
        self.limits = limits or Limits()
        self.heads = HeadReader(self.limits)
        self.wire = Wire()
        self.writes = Writes()
        #: Files for large bodies. An extra gateway never gets one back, so it has none.
        self.shelf = Shelf() if handover is None else None
        self.connections: set[Connection] = set()
        self.addresses = Addresses()
        self.draining = False
        self.now = clock()
        self._clock = clock
        self._config = app_config(app) if handover is None else None
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the connections."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def app_side(self, transport: asyncio.Transport, connection: AppConnection) -> AppSide:
        """Return the app's side of a connection."""
        assert self._config is not None
        return AppSide(self._config, self._state, self.limits, transport, connection)

    def stamp(self) -> None:
        """Give the app's next answer the present date."""
        self._state.default_headers = [(b"date", self.wire.date())]

    async def listen(self, **where: Any) -> None:
        """Begin to accept connections; `where` goes to `loop.create_server`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: GatewayProtocol(self), **where)
        self._timer = loop.call_later(SWEEP_S, self._tick)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._server.sockets) if self._server is not None else ()

    @property
    def port(self) -> int:
        """The TCP port listened on."""
        port: int = self.sockets[0].getsockname()[1]
        return port

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)
        self.sweep()

    def sweep(self) -> None:
        """Read the clock and look at every connection's deadlines."""
        self.now = self._clock()
        self.heads.sweep(self.now)
        for connection in list(self.connections):
            connection.sweep(self.now)

    def left(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()

    async def close(self, drain_s: float) -> None:
        """Accept nothing more, let calls in hand finish within `drain_s` seconds, cut the rest."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.drain()
        await self._wait_until_empty(drain_s)
        for connection in list(self.connections):
            connection.abort()
        await self._wait_until_empty(1.0)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._state.tasks):
            task.cancel()
        if self.shelf is not None:
            self.shelf.close()

    async def _wait_until_empty(self, seconds: float) -> None:
        if not self.connections:
            return
        self._emptied.clear()
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds)
        except asyncio.TimeoutError:
            return


async def create_server(
    predictor: Predictor,
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    reuse_port: bool = False,
    sock: socket.socket | None = None,
    desk: RunDesk | None = None,
    tls: ssl.SSLContext | None = None,
) -> Gateway:
    """Listen on one port for predict calls and everything else.

    Args:
        predictor: Route table and key check.
        app: The ASGI app that answers everything else.
        host: Address to listen on.
        port: TCP port; 0 takes a free one (see `Gateway.port`).
        limits: What is accepted from a connection.
        reuse_port: Let other processes listen on the same port.
        sock: A bound socket to listen on instead of host and port.
        desk: Takes calls that are to run later.
        tls: How connections are encrypted; None for plain HTTP.

    Raises:
        OSError: The address cannot be listened on.
    """
    gateway = Gateway(predictor, app, limits, desk=desk)
    options: dict[str, Any] = {"backlog": _BACKLOG}
    if tls is not None:
        options |= {"ssl": tls, "ssl_handshake_timeout": gateway.limits.head_s}
        if sys.version_info >= (3, 11):  # asyncio knows no such limit before
            options["ssl_shutdown_timeout"] = _TLS_END_S
    if sock is not None:
        await gateway.listen(sock=sock, **options)
    else:
        await gateway.listen(host=host, port=port, reuse_port=reuse_port or None, **options)
    return gateway
