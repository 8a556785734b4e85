"""An extra gateway's entry: `python -m penstock.wiring.gateway_process <server pid> <descriptors>`.

It accepts connections on the server's port, reads requests, checks keys, forwards predict calls as
frames to the server process and writes the answers. It knows what the server process told it, holds
no state of its own, and ends with the server process. Started by `gateway_child`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import NamedTuple

import msgspec

from penstock.codec.gateway_messages import (
    Drain,
    Listening,
    Refused,
    Serve,
    Sync,
    Synced,
    ToGateway,
    receive,
)
from penstock.codec.multipart import limit_parts
from penstock.codec.worker_messages import pack_message
from penstock.control.forward import ForwardPredictor
from penstock.engine.local import lifeline
from penstock.server.gateway.forward_desk import ForwardDesk
from penstock.server.gateway.handover import Handover
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.listen import Gateway
from penstock.wiring import pickle_guard
from penstock.wiring.event_loop import run_loop
from penstock.wiring.log_format import log_to_standard_error

#: Seconds that calls in hand get when the process is told to end by a signal.
_DRAIN_S = 30.0

_BACKLOG = 2048

#: Seconds between two messages about refused requests.
_TELL_S = 1.0


class GatewayEnds(NamedTuple):
    """Descriptors: the gateway's ends of its sockets, and the socket it accepts from."""

    data: int
    control: int
    handover: int
    listener: int

    def close(self) -> None:
        """Close all of them in this process."""
        for fd in self:
            os.close(fd)


class ExtraGateway:
    """One extra gateway, in its own process."""

    def __init__(self, ends: GatewayEnds) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._ends = ends
        self._writer: asyncio.StreamWriter
        data = socket.socket(fileno=ends.data)
        self._predictor = ForwardPredictor(loop, data, self._tell, self._server_is_gone)
        self._handover = Handover(loop, socket.socket(fileno=ends.handover))
        self._gateway: Gateway | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._end, _DRAIN_S)

    async def run(self) -> None:
        """Serve until told to end."""
        control = socket.socket(fileno=self._ends.control)
        reader, self._writer = await asyncio.open_unix_connection(sock=control)
        listening = asyncio.create_task(self._listen(reader))
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()  # a gateway that does not understand the server must not linger
        listening.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        async for message in receive(reader, ToGateway):
            if isinstance(message, Sync):
                self._tell(Synced(message.number))
            elif isinstance(message, Serve):
                await self._serve(msgspec.convert(message.limits, Limits))
            elif isinstance(message, Drain):
                self._end(message.seconds)
            else:
                self._predictor.take(message)
        self._server_is_gone("closed the control socket")

    async def _serve(self, limits: Limits) -> None:
        limit_parts(limits.parts)
        predictor = self._predictor
        self._gateway = Gateway(
            predictor, None, limits, desk=ForwardDesk(predictor), handover=self._handover
        )
        listener = socket.socket(fileno=self._ends.listener)
        await self._gateway.listen(sock=listener, backlog=_BACKLOG)
        self._tell(Listening())
        self._tell_refused()

    def _tell_refused(self) -> None:
        """Say every second what was refused, so that the server process counts it, too."""
        self._loop.call_later(_TELL_S, self._tell_refused)
        refused, self._predictor.refused = self._predictor.refused, {}
        if refused:
            self._tell(Refused(refused))

    def _tell(self, message: msgspec.Struct) -> None:
        self._writer.write(pack_message(message))

    def _end(self, drain_s: float) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._drain(drain_s))

    async def _drain(self, drain_s: float) -> None:
        if self._gateway is not None:
            await self._gateway.close(drain_s)
        self._ended.set()

    @staticmethod
    def _server_is_gone(_reason: str) -> None:
        os._exit(0)  # nothing can be answered any more


async def _run(ends: GatewayEnds) -> None:
    await ExtraGateway(ends).run()


def main() -> None:
    """Be an extra gateway of the server process."""
    server, *fds = (int(text) for text in sys.argv[1:])
    lifeline.die_with(server)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifeline.raise_descriptor_limit()
    pickle_guard.install()
    log_to_standard_error("warning", "text")
    run_loop(_run(GatewayEnds(*fds)))


if __name__ == "__main__":
    main()
