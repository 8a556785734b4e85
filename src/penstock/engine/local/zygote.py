"""The zygote: imports model libraries once, then forks workers that have them already.

`wiring.zygote_process` calls `serve` in a process of its own. The zygote never has more than one
thread, never loads a user's model and never runs a user's function; its children do, workers and
templates (see `template_process`). `forking` makes them the server's own children.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import msgspec

from penstock.engine.local import forking, lifeline
from penstock.engine.local.intake import descriptors
from penstock.engine.local.pipes import ChildEnds, TemplateEnds
from penstock.engine.local.zygote_messages import (
    PACKET_LIMIT,
    Fork,
    Forked,
    FromZygote,
    Refused,
    ToZygote,
    Warm,
    Warmed,
)
from penstock.engine.sandbox import confine, limits

_FDS = socket.CMSG_SPACE(len(ChildEnds._fields) * 4)


class Roles(NamedTuple):
    """What a forked child can be; neither returns."""

    worker: Callable[[ChildEnds], NoReturn]
    template: Callable[[TemplateEnds], NoReturn]


def serve(control: int, server: int, roles: Roles) -> NoReturn:
    """Obey the server until it is gone.

    Args:
        control: Descriptor of our end of the seqpacket socket.
        server: Process id of the server, our parent.
        roles: What a forked child runs.
    """
    lifeline.die_with(server)
    lifeline.name_process("penstock-zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    decoder = msgspec.msgpack.Decoder(ToZygote)
    with socket.socket(fileno=control) as sock:
        sock.setblocking(True)
        confine.look_ahead()
        forking.settle()
        while True:
            packet, ancillary, _, _ = sock.recvmsg(PACKET_LIMIT, _FDS, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                os._exit(0)
            message = decoder.decode(packet)
            if isinstance(message, Warm):
                sock.send(msgspec.msgpack.encode(_warm(message.modules)))
            else:
                fds = list(descriptors(ancillary))
                answer = _fork(message, fds, roles, sock)
                for fd in fds:
                    os.close(fd)
                sock.send(msgspec.msgpack.encode(answer))


def _warm(modules: list[str]) -> Warmed:
    begun = time.perf_counter()
    failed: dict[str, str] = {}
    threaded = ""
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a broken library must not end the zygote
            failed[name] = f"{type(error).__name__}: {error}"
        if lifeline.thread_count() > 1:
            threaded = name
            break
    forking.settle()
    return Warmed((time.perf_counter() - begun) * 1e3, failed, threaded)


def _fork(message: Fork, fds: list[int], roles: Roles, sock: socket.socket) -> FromZygote:
    threads = lifeline.thread_count()
    if threads > 1:
        return Refused(f"the zygote has {threads} threads")

    def child() -> NoReturn:
        sock.close()
        limits.close_others(fds)
        if message.template:
            roles.template(TemplateEnds(*fds))
        roles.worker(ChildEnds(*fds))

    try:
        return Forked(forking.fork_twice(message.server, child))
    except OSError as error:
        return Refused(f"fork failed: {error}")
