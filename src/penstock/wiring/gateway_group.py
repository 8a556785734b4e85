"""The extra gateways of a server: one listening socket and one process each, replaced when it ends.

Made by `server_process` for the setting `gateways`. The listening sockets belong to the server
process: connections that wait in one when its gateway dies are accepted by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import msgspec

from penstock.codec.gateway_messages import RefuseKey, RemovePath
from penstock.control.predict import Route
from penstock.core.errors import EngineError
from penstock.core.records import KeyRecord
from penstock.wiring.gateway_child import GatewayChild, GatewayNeeds, add_path, allow

log = logging.getLogger("penstock.server")

#: Connections that may wait to be accepted.
BACKLOG = 2048

#: Gateways in a row that end before they serve, after which their socket is given up.
_MAX_FAILURES = 3

#: Seconds between two of them.
_PAUSE_S = 0.5

#: Seconds that the end of a process may take after it answered its last call.
_END_S = 2.0


class GatewayGroup:
    """The extra gateways. Every method runs on the event loop.

    Args:
        needs: What each of them needs.
        listeners: A bound, listening socket for each; closed by `close`.
    """

    def __init__(self, needs: GatewayNeeds, listeners: list[socket.socket]) -> None:
        self._needs = needs
        self._listeners = listeners
        self._children: dict[int, GatewayChild] = {}
        self._closing = False
        needs.predictor.on_path = self._path_changed
        needs.keys.on_change = self._key_changed
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(len(listeners))]

    def pids(self) -> list[int]:
        """Return the process ids of those that run."""
        return [child.pid for child in self._children.values()]

    async def _keep(self, number: int) -> None:
        """Have a gateway on one socket, until the server stops or none comes up."""
        failures = 0
        while failures < _MAX_FAILURES:
            served = await self._run_one(number)
            failures = 0 if served else failures + 1
            if failures:
                await asyncio.sleep(_PAUSE_S)
        log.error("Gateway processes do not start: the port is served by one fewer.")
        self._listeners[number].close()

    async def _run_one(self, number: int) -> bool:
        """Start a gateway and return when it ended: whether it ever accepted connections."""
        try:
            child = self._children[number] = GatewayChild(self._needs, self._listeners[number])
        except (EngineError, OSError):
            log.exception("A gateway process cannot be started.")
            return False
        await child.ended.wait()
        del self._children[number]
        if not self._closing:
            log.warning("The gateway process %d ended; another one takes its place.", child.pid)
        return child.served

    def _tell(self, message: msgspec.Struct) -> None:
        for child in self._children.values():
            child.tell(message)

    def _path_changed(self, path: bytes, route: Route | None) -> None:
        self._tell(RemovePath(path) if route is None else add_path(path, route))

    async def _key_changed(self, record: KeyRecord, valid: bool) -> None:
        """Return when every gateway knows."""
        self._tell(allow(record) if valid else RefuseKey(record.digest))
        await asyncio.gather(*(child.settle() for child in list(self._children.values())))

    async def close(self, drain_s: float) -> None:
        """Have the gateways answer what they hold within `drain_s` seconds, then end them."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            listener.close()
        children = list(self._children.values())
        for child in children:
            child.drain(drain_s)
        ends = asyncio.gather(*(child.ended.wait() for child in children))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ends, drain_s + _END_S)
        for child in children:
            child.kill()
            await child.ended.wait()


def share_port(listener: socket.socket, count: int) -> list[socket.socket]:
    """Return `count` more sockets listening on the address of `listener`.

    `listener` was bound alone, so that two servers on one port are found out; from now on others of
    the same user may join it.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    joined = []
    for _ in range(count):
        more = socket.socket(listener.family, listener.type, listener.proto)
        more.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        more.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        more.bind(listener.getsockname())
        more.listen(BACKLOG)
        joined.append(more)
    return joined
