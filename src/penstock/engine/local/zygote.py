"""The zygote: imports model libraries once, then forks workers that have them already.

`wiring.zygote_process` calls `serve` in a process of its own. The zygote never has more than one
thread, never loads a user's model and never runs a user's function. It forks twice, so that the
worker is nobody's child for a moment and the server, a subreaper, adopts it: killing the zygote
harms no worker.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import msgspec

from penstock.engine.local import lifeline
from penstock.engine.local.intake import descriptors
from penstock.engine.local.pipes import ChildEnds
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

_PID = struct.Struct("<q")
_FDS = socket.CMSG_SPACE(len(ChildEnds._fields) * 4)

RunWorker = Callable[[ChildEnds], NoReturn]


def serve(control: int, server: int, run_worker: RunWorker) -> NoReturn:
    """Obey the server until it is gone.

    Args:
        control: Descriptor of our end of the seqpacket socket.
        server: Process id of the server, our parent.
        run_worker: What a forked worker runs; it does not return.
    """
    lifeline.die_with(server)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    decoder = msgspec.msgpack.Decoder(ToZygote)
    with socket.socket(fileno=control) as sock:
        sock.setblocking(True)
        _settle()
        while True:
            packet, ancillary, _, _ = sock.recvmsg(PACKET_LIMIT, _FDS, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                os._exit(0)
            message = decoder.decode(packet)
            if isinstance(message, Warm):
                sock.send(msgspec.msgpack.encode(_warm(message.modules)))
            else:
                ends = ChildEnds(*descriptors(ancillary))
                answer = _fork(message, ends, run_worker, sock)
                ends.close()
                sock.send(msgspec.msgpack.encode(answer))


def _settle() -> None:
    """Leave nothing for the collector to touch, so that workers keep sharing these pages."""
    gc.collect()
    gc.freeze()


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
    _settle()
    return Warmed((time.perf_counter() - begun) * 1e3, failed, threaded)


def _fork(message: Fork, ends: ChildEnds, run_worker: RunWorker, sock: socket.socket) -> FromZygote:
    threads = lifeline.thread_count()
    if threads > 1:
        return Refused(f"the zygote has {threads} threads")
    try:
        return Forked(_fork_twice(message.server, ends, run_worker, sock))
    except OSError as error:
        return Refused(f"fork failed: {error}")


def _fork_twice(server: int, ends: ChildEnds, run_worker: RunWorker, sock: socket.socket) -> int:
    reader, writer = os.pipe()
    try:
        between = os.fork()
        if not between:
            _leave_child(writer, server, ends, run_worker, sock)
        os.close(writer)
        writer = -1
        told = os.read(reader, _PID.size)
        os.waitpid(between, 0)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if len(told) < _PID.size:
        raise OSError("the process in between ended early")
    pid: int = _PID.unpack(told)[0]
    return pid


def _leave_child(
    writer: int, server: int, ends: ChildEnds, run_worker: RunWorker, sock: socket.socket
) -> NoReturn:
    """In the first child: fork the worker, tell its process id, end."""
    try:
        pid = os.fork()
        if not pid:
            _become_worker(server, ends, run_worker, sock, writer)
        os.write(writer, _PID.pack(pid))
    finally:
        os._exit(0)


def _become_worker(
    server: int, ends: ChildEnds, run_worker: RunWorker, sock: socket.socket, writer: int
) -> NoReturn:
    try:
        sock.close()
        os.close(writer)
        os.setsid()
        lifeline.wait_for_adoption(server)
        lifeline.die_with(server)
        _reseed()
        run_worker(ends)
    except BaseException:  # noqa: BLE001 - a child must never return into the zygote's loop
        traceback.print_exc()
    finally:
        os._exit(70)


def _reseed() -> None:
    """NumPy's global generator would give every worker the same numbers; Python's reseeds."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
