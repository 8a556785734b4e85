"""The template: a process that loads one version and forks workers that have it already.

The zygote forks it; `wiring` gives it the same `Loader` as a worker. It has one thread, serves
nothing and talks only to the server. What loading left behind decides whether it may fork: threads,
connections, child processes or an open CUDA device do not survive a fork. If it may not, it becomes
the first worker itself, so that nothing is loaded twice.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from penstock.codec import memfile
from penstock.codec.worker_messages import Load
from penstock.engine.local import forking, lifeline, output, worker
from penstock.engine.local.intake import descriptors
from penstock.engine.local.loader import Loader
from penstock.engine.local.pipes import ChildEnds, TemplateEnds
from penstock.engine.local.template_messages import (
    FDS_SPACE,
    PACKET_LIMIT,
    Become,
    Branch,
    Branched,
    NotPrepared,
    Prepare,
    Prepared,
    Refused,
    ToTemplate,
)
from penstock.engine.sandbox import confine

#: Made at import: a zygote has them, and templates need not build them.
_LOAD = msgspec.msgpack.Decoder(Load)
_MESSAGE = msgspec.msgpack.Decoder(ToTemplate)


def run(ends: TemplateEnds, loader: Loader) -> NoReturn:
    """Load what the server says, then fork workers until it is gone."""
    try:
        lifeline.name_process("penstock-templ")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        output.redirect(ends.log)
        with socket.socket(fileno=ends.control) as sock:
            sock.setblocking(True)
            _serve(sock, loader)
    except BaseException:  # noqa: BLE001 - nothing above us may go on with this process
        traceback.print_exc()
        output.end(70)
    output.end(0)


def _serve(sock: socket.socket, loader: Loader) -> None:
    loaded: Any = None
    while True:
        packet, ancillary, _, _ = sock.recvmsg(PACKET_LIMIT, FDS_SPACE, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return
        message = _MESSAGE.decode(packet)
        fds = list(descriptors(ancillary))
        if isinstance(message, Prepare):
            loaded = _prepare(sock, _read_load(fds[0], message.size), loader)
            continue
        work = partial(_work, sock, ChildEnds(*fds), loader, loaded)
        if isinstance(message, Become):
            work()
        sock.send(msgspec.msgpack.encode(_branch(message, work)))
        ChildEnds(*fds).close()


def _work(sock: socket.socket, ends: ChildEnds, loader: Loader, loaded: Any) -> NoReturn:
    """Be a worker, in a child or in the template itself."""
    sock.close()
    worker.run(ends, loader, loaded)


def _read_load(fd: int, size: int) -> Load:
    try:
        return _LOAD.decode(memfile.read(fd, size, trusted=True))
    finally:
        os.close(fd)


def _prepare(sock: socket.socket, message: Load, loader: Loader) -> Any:
    before = _sockets()
    begun = time.perf_counter()
    try:
        if message.sandbox is not None:
            confine.confine(message.sandbox, message.scratch, list(message.blobs.values()))
        loaded = loader.prepare(message)
    except BaseException as error:  # noqa: BLE001 - sys.exit in user code is a failed load too
        told = output.told(output.as_load_error(error), PACKET_LIMIT - 64)
        sock.send(msgspec.msgpack.encode(NotPrepared(told)))
        output.end(1)
    forking.settle()
    took_ms = (time.perf_counter() - begun) * 1e3
    sock.send(msgspec.msgpack.encode(Prepared(took_ms, obstacle(before))))
    return loaded


def _branch(message: Branch, work: Any) -> Branched | Refused:
    try:
        return Branched(forking.fork_twice(message.server, work))
    except OSError as error:
        return Refused(f"fork failed: {error}")


def obstacle(sockets_before: frozenset[str]) -> str:
    """Return why this process must not fork workers; empty if it may.

    Args:
        sockets_before: The sockets that were open before the version was loaded.
    """
    threads = lifeline.thread_count()
    if threads > 1:
        return f"loading it starts threads ({threads - 1})"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "loading it opens a CUDA device"
    if _sockets() - sockets_before:
        return "loading it opens a connection"
    if _has_children():
        return "loading it starts a process"
    return ""


def _sockets() -> frozenset[str]:
    """Return the sockets this process has open, each by the name the kernel gives it."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return frozenset()
    return frozenset(name for name in map(_open_file, names) if name.startswith("socket:"))


def _open_file(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # the one that listed the folder
        return ""


def _has_children() -> bool:
    own = os.getpid()
    try:
        return bool(Path(f"/proc/self/task/{own}/children").read_text(encoding="ascii").strip())
    except OSError:
        return False
