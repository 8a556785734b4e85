"""One template process as the server sees it: started, loaded, asked for workers, ended.

`template_launcher` makes and uses them; `template_process` is what runs in the process.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from penstock.codec import memfile
from penstock.core.errors import EngineError, FrameError
from penstock.engine.base import VersionSpec
from penstock.engine.local import failures, orphans, worker_facts
from penstock.engine.local.exits import Child, Exit
from penstock.engine.local.home import Home
from penstock.engine.local.loading import load_message, secrets_of
from penstock.engine.local.logs import LogPipe, LogTail
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.pipes import ChildEnds, TemplateEnds
from penstock.engine.local.template_messages import (
    PACKET_LIMIT,
    Become,
    Branch,
    Branched,
    FromTemplate,
    NotPrepared,
    Prepare,
    Prepared,
    ToTemplate,
)
from penstock.engine.local.zygote_client import ZygoteClient

#: How long a template may take to fork, in seconds.
_BRANCH_S = 60.0

#: How long a template that failed or closed its socket may take to end, in seconds.
_END_S = 2.0


class Template:
    """One template process, from its start to its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: EngineOptions,
        followed: Orphans,
        tail: LogTail,
    ) -> None:
        self._loop = loop
        self._options = options
        self._orphans = followed
        self._tail = tail
        self._decoder = msgspec.msgpack.Decoder(FromTemplate)
        self._lock = asyncio.Lock()
        self._sock, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        self._child: Child | None = None
        self._log_pipe: LogPipe | None = None
        self.load_ms = 0.0
        self.obstacle = ""

    def print_to(self, tail: LogTail) -> None:
        """Have what it prints from now on go to `tail`."""
        self._tail = tail
        if self._log_pipe is not None:
            self._log_pipe.print_to(tail)

    @property
    def pid(self) -> int:
        """Its process id; 0 when it has none, or not any more."""
        child = self._child
        return child.pid if child is not None and child.exit is None else 0

    async def start(self, zygote: ZygoteClient) -> bool:
        """Have the zygote fork it. False when the zygote may not fork.

        Raises:
            EngineError: The zygote died; try again.
        """
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            pid = await zygote.fork(TemplateEnds(self._theirs.fileno(), writer))
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
            self._theirs.close()
        if pid is None:
            os.close(reader)
            return False
        self._orphans.follow(pid)
        self._log_pipe = LogPipe(self._loop, reader, self._tail, self._options.log_bytes_per_s)
        self._child = Child(self._loop, pid, self._on_exit)
        return True

    def _on_exit(self, child: Child) -> None:
        self._orphans.forget(child.pid)
        self._orphans.end_session(child.pid)

    async def load(
        self, spec: VersionSpec, folder: Path, home: Home, why_ended: Callable[[], str]
    ) -> None:
        """Have it load the version; `folder` is its own, in `home`.

        `why_ended` says why the kernel ended it, as `Fences.why_ended` does.

        Raises:
            LoadFailed: It did not load, died, or took too long.
        """
        secrets = await secrets_of(spec)
        self._tail.hide(secrets.values())
        message = load_message(spec, folder, home, secrets, options=self._options)
        packed = msgspec.msgpack.encode(message)
        fd, size = memfile.create([packed])
        limit = self._options.load_timeout_s
        because = ""
        answer: FromTemplate | None = None
        try:
            answer = await asyncio.wait_for(self._ask(Prepare(size), (fd,)), limit)
        except asyncio.TimeoutError:
            because = f"loading took longer than {limit:g} s"
        finally:
            os.close(fd)
        if isinstance(answer, Prepared):
            self.load_ms, self.obstacle = answer.load_ms, answer.obstacle
            return
        end = await self._end(kill=bool(because))
        because = because or why_ended()
        lines = self._tail.lines()
        if isinstance(answer, NotPrepared):
            raise failures.load_failed(spec.key, _read_error(answer.told), lines)
        raise failures.died_loading(spec.key, end, because, lines)

    async def _end(self, *, kill: bool) -> Exit | None:
        """Wait until it is gone and its last lines are read; return how it ended."""
        child = self._child
        if child is None:
            return None
        if kill:
            child.kill()
        try:
            await asyncio.wait_for(child.ended.wait(), _END_S)
        except asyncio.TimeoutError:
            child.kill()
            await child.ended.wait()
        if self._log_pipe is not None:
            self._log_pipe.close()
        return child.exit

    async def branch(self, ends: ChildEnds) -> int | None:
        """Return the process id of a new worker; None when the template is gone."""
        since = orphans.now()
        try:
            answer = await asyncio.wait_for(self._ask(Branch(os.getpid()), ends), _BRANCH_S)
        except asyncio.TimeoutError:
            answer = None
        if not isinstance(answer, Branched):
            return None
        if orphans.is_new_child(answer.pid, since):
            return answer.pid
        await self._end(kill=True)  # it is not the program that we started any more
        return None

    def become(self, ends: ChildEnds) -> int:
        """Have it be a worker itself; return its process id, which is the worker's from now on.

        Raises:
            EngineError: It is gone.
        """
        child = self._child
        if child is None or child.exit is not None:
            raise EngineError("The process that loaded the version is gone.")
        try:
            self._send(Become(), ends)
        except OSError as error:
            raise EngineError(f"The process that loaded the version is gone: {error}.") from None
        child.release()
        self._child = None
        self._sock.close()
        return child.pid

    async def _ask(self, message: ToTemplate, fds: tuple[int, ...]) -> FromTemplate | None:
        async with self._lock:
            try:
                self._send(message, fds)
                packet = await self._loop.sock_recv(self._sock, PACKET_LIMIT)
                return self._decoder.decode(packet) if packet else None
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                return None

    def _send(self, message: ToTemplate, fds: tuple[int, ...]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        self._sock.sendmsg([msgspec.msgpack.encode(message)], rights)

    async def close(self) -> None:
        """End it, unless it has become a worker."""
        await self._end(kill=True)
        if self._log_pipe is not None:
            self._log_pipe.close()
        if self._theirs.fileno() >= 0:
            self._theirs.close()
        async with self._lock:  # whoever waits for an answer has read the end by now
            self._sock.close()


def _read_error(told: bytes) -> dict[str, Any]:
    try:
        return worker_facts.read(told)
    except FrameError:
        return {}
