"""One extra gateway as the server process sees it: started, told what matters, followed, ended.

`gateway_group` makes the next one when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from penstock.codec.gateway_messages import (
    AddPath,
    AllowKey,
    Drain,
    FromGateway,
    Listening,
    Refused,
    Serve,
    Sync,
    Synced,
    receive,
)
from penstock.codec.worker_messages import Cancel, pack_message
from penstock.control.forwarded import ForwardedCalls, MakeRun
from penstock.control.keys import Keys
from penstock.control.predict import Predictor, Route
from penstock.core.errors import FrameError
from penstock.core.records import KeyRecord
from penstock.engine.local.exits import Child
from penstock.engine.local.processes import start_process
from penstock.server.gateway.handover import Adoption
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.listen import Gateway
from penstock.wiring.gateway_process import GatewayEnds

log = logging.getLogger("penstock.server")

#: How long a gateway may take to take over what it was told, in seconds.
SYNC_S = 5.0

#: Bytes of frames that the kernel holds for a data socket, each way.
_DATA_BUFFER = 1 << 20


@dataclass(frozen=True)
class GatewayNeeds:
    """What every extra gateway of a server needs from it."""

    predictor: Predictor
    keys: Keys
    gateway: Gateway
    limits: Limits
    make_run: MakeRun | None
    folder: Path


def allow(record: KeyRecord) -> AllowKey:
    """Return the message that a key is valid."""
    return AllowKey(
        record.key_id,
        record.digest,
        record.prefix,
        record.scope.value,
        record.project,
        None if record.deployments is None else list(record.deployments),
        record.expires_at,
    )


def add_path(path: bytes, route: Route) -> AddPath:
    """Return the message that calls to a path are predict calls."""
    return AddPath(path, route.project, route.deployment, route.max_body)


class GatewayChild:
    """One extra gateway's process.

    Attributes:
        ended: Set when the process is gone.
        served: Whether it ever accepted connections.

    Args:
        needs: What it needs from the server.
        listener: The socket it accepts from; stays open here.
    """

    def __init__(self, needs: GatewayNeeds, listener: socket.socket) -> None:
        self._needs = needs
        self._loop = loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.served = False
        self._syncs: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        ours, theirs = _sockets()
        data, self._control, handover = ours
        fds = GatewayEnds(*[sock.fileno() for sock in (*theirs, listener)])
        try:
            pid = start_process(_command(fds), tuple(fds), needs.folder, 2)
        finally:
            for sock in theirs:
                sock.close()
        self._child = Child(loop, pid, self._on_exit)
        self._calls = ForwardedCalls(
            loop, data, needs.predictor, needs.keys.admit, needs.make_run, self._give_up
        )
        self._adoption = Adoption(loop, handover, needs.gateway)
        self._listening = loop.create_task(self._talk())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def _talk(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control)
        for message in self._first_words():
            self.tell(message)
        try:
            async for message in receive(reader, FromGateway | Cancel):
                self._hear(message)
        except FrameError as error:
            self._give_up(error.message)

    def _first_words(self) -> Iterable[msgspec.Struct]:
        needs = self._needs
        yield from (allow(record) for record in needs.keys.valid())
        yield from (add_path(path, route) for path, route in needs.predictor.routes.items())
        yield Serve(asdict(needs.limits))

    def _hear(self, message: Listening | Synced | Refused | Cancel) -> None:
        if isinstance(message, Cancel):
            self._calls.cancel(message.call_ids)
        elif isinstance(message, Refused):
            for code, count in message.codes.items():
                self._needs.predictor.count_refusal(code, count)
        elif isinstance(message, Listening):
            self.served = True
        else:
            waiting = self._syncs.pop(message.number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def tell(self, message: msgspec.Struct) -> None:
        """Send a message; one that is not connected yet will hear all of it anyway."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack_message(message))

    async def settle(self) -> None:
        """Return when all it was told is in force, or it is gone: one that hangs is killed."""
        if self._writer is None or self.ended.is_set():
            return
        self._number += 1
        waiting = self._syncs[self._number] = self._loop.create_future()
        self.tell(Sync(self._number))
        done, _ = await asyncio.wait({waiting}, timeout=SYNC_S)
        if not done:
            self._give_up(f"did not answer within {SYNC_S:g} s")
            await self.ended.wait()

    def _give_up(self, reason: str) -> None:
        if self._child.exit is None:
            if reason != "closed its socket":
                log.error("The gateway process %d %s; it is ended.", self.pid, reason)
            self._child.kill()

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self._child.kill()

    def drain(self, seconds: float) -> None:
        """Have it accept nothing more, answer what it has and end."""
        if self._writer is None:
            self.kill()
        self.tell(Drain(seconds))

    def _on_exit(self, _child: Child) -> None:
        self._calls.close()
        self._adoption.close()
        self._listening.cancel()
        if self._writer is not None:
            self._writer.close()
        else:
            self._control.close()
        for waiting in self._syncs.values():
            if not waiting.done():
                waiting.set_result(None)
        self.ended.set()


def _sockets() -> tuple[list[socket.socket], list[socket.socket]]:
    """Return our and the gateway's ends of data, control and handover."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    pairs = [socket.socketpair(socket.AF_UNIX, kind) for kind in kinds]
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for sock in (ours[0], theirs[0]):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _DATA_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATA_BUFFER)
    for sock in ours:
        sock.setblocking(False)
    return ours, theirs


def _command(ends: GatewayEnds) -> list[str]:
    fds = [str(fd) for fd in ends]
    return [sys.executable, "-m", "penstock.wiring.gateway_process", str(os.getpid()), *fds]
