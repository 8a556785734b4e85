"""The server's side of the zygote: starts it, keeps it alive, has it import and fork.

A zygote that dies harms no worker; a new one is started at once and imports again what the old one
had. A module whose import starts threads makes forking unsafe: the zygote is replaced by one that
leaves that module out, so that only the workers that need it pay for it.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from penstock.codec.sandbox import Sandbox
from penstock.core.errors import EngineError
from penstock.engine.base import Environment
from penstock.engine.local import orphans
from penstock.engine.local.exits import Child
from penstock.engine.local.logs import LogPipe, LogTail
from penstock.engine.local.options import EngineOptions, zygote_command
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.pipes import ChildEnds, TemplateEnds
from penstock.engine.local.processes import start_process
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

_log = logging.getLogger(__name__)

#: Starts of zygotes that died before they said anything, after which we stop trying at once.
_MAX_FAILURES = 3


#: How long the zygote may take to import, or to fork, in seconds.
_ANSWER_S = 300.0

T = TypeVar("T")


class ZygoteClient:
    """One zygote, replaced whenever it dies, until `close`.

    Args:
        loop: The running loop.
        options: Settings.
        folder: Where it runs.
        followed: Follows the engine's processes.
        sandbox: How it is confined, where what it imports is a user's own choice.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: EngineOptions,
        folder: Path,
        followed: Orphans,
        sandbox: Sandbox | None = None,
        environment: Environment | None = None,
    ) -> None:
        self._loop = loop
        self._command = zygote_command(options, environment, sandbox)
        self._python = environment.python if environment is not None else None
        self._bytes_per_s = options.log_bytes_per_s
        self._folder = folder
        self._orphans = followed
        self._decoder = msgspec.msgpack.Decoder(FromZygote)
        self._lock = asyncio.Lock()
        self._modules: list[str] = []
        self._left_out: set[str] = set()
        self._child: Child | None = None
        self._sock: socket.socket | None = None
        self._pipe: LogPipe | None = None
        self._failures = 0
        self._asking = False
        self._closing = False
        self._resting = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.logs = LogTail()

    @property
    def pid(self) -> int:
        """The zygote's process id; 0 when there is none just now."""
        return self._child.pid if self._child is not None else 0

    @property
    def libraries(self) -> int:
        """How many modules it was told to import so far and could."""
        return len(self._modules)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Have `modules` imported, now and by every later zygote. Never fails."""
        new = [m for m in modules if m not in self._modules and m not in self._left_out]
        if not new:
            return
        await self._whole(self._warm(new))

    async def fork(self, ends: ChildEnds | TemplateEnds) -> int | None:
        """Return the process id of a new worker, or template, holding `ends`.

        None when forking is not safe.

        Raises:
            EngineError: The zygote died; ask again.
        """
        since = orphans.now()
        answer = await self._whole(self._fork(ends))
        if isinstance(answer, Forked):
            if not orphans.is_new_child(answer.pid, since):
                await self._end()
                raise EngineError("The zygote named a process that it did not fork.")
            return answer.pid
        if isinstance(answer, Refused):
            _log.warning("The zygote refuses to fork: %s", answer.reason)
        return None

    async def _whole(self, conversation: Coroutine[Any, Any, T]) -> T:
        """Run a conversation to its end even if the caller gives up: answers must not get lost."""
        task = self._loop.create_task(conversation)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _warm(self, new: list[str]) -> None:
        async with self._lock:
            try:
                await self._import(new)
            except EngineError as error:
                _log.warning("The zygote could not import %s: %s", ", ".join(new), error)

    async def _fork(self, ends: ChildEnds | TemplateEnds) -> FromZygote:
        async with self._lock:
            return await self._ask(Fork(os.getpid(), isinstance(ends, TemplateEnds)), ends)

    async def rest(self) -> None:
        """End the zygote until it is asked again, and then import again what it had."""
        async with self._lock:
            self._resting = True
            try:
                await self._end()
            finally:
                self._resting = False

    async def close(self) -> None:
        """End the zygote."""
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await self._end()

    async def _import(self, new: list[str]) -> None:
        answer = await self._ask(Warm(new))
        if not isinstance(answer, Warmed):
            raise EngineError("The zygote answered something else.")
        for module, reason in answer.failed.items():
            _log.warning("The zygote cannot import %s: %s", module, reason)
        if not answer.threaded:
            self._modules += new
            return
        _log.warning("Importing %s starts threads; workers import it alone.", answer.threaded)
        self._left_out.add(answer.threaded)
        await self._end()
        await self._import([m for m in new if m not in self._left_out])

    async def _end(self) -> None:
        child = self._child
        if child is not None:
            child.kill()
            await child.ended.wait()

    async def _ask(self, message: ToZygote, ends: tuple[int, ...] = ()) -> FromZygote:
        sock = await self._ready()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ends))] if ends else []
        self._asking = True
        try:
            sock.sendmsg([msgspec.msgpack.encode(message)], rights)
            packet = await asyncio.wait_for(self._loop.sock_recv(sock, PACKET_LIMIT), _ANSWER_S)
            if packet:
                self._failures = 0
                answer: FromZygote = self._decoder.decode(packet)
                return answer
        except (OSError, asyncio.TimeoutError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.debug("zygote: %s", error)
        finally:
            self._asking = False
            if sock is not self._sock:
                sock.close()
        await self._end()
        raise EngineError("The zygote died while it was asked.")

    async def _ready(self) -> socket.socket:
        if self._sock is None:
            await self._start()
        if self._sock is None:
            raise EngineError("There is no zygote.")
        return self._sock

    async def _start(self) -> None:
        """Start a zygote and have it import what the last one had."""
        if self._closing:
            raise EngineError("The engine is being closed.")
        if self._failures:
            await asyncio.sleep(min(2.0, 0.05 * 2**self._failures))
        self._failures += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        ours.setblocking(False)
        command = [*self._command, str(os.getpid()), str(theirs.fileno())]
        try:
            pid = start_process(command, (theirs.fileno(),), self._folder, writer, self._python)
        finally:
            theirs.close()
            os.close(writer)
        self._orphans.follow(pid)
        self._sock = ours
        self._pipe = LogPipe(self._loop, reader, self.logs, self._bytes_per_s)
        self._child = Child(self._loop, pid, self._on_exit)
        if self._modules:
            await self._ask(Warm(list(self._modules)))

    def _on_exit(self, child: Child) -> None:
        self._orphans.forget(child.pid)
        if self._pipe is not None:
            self._pipe.close()
        if self._sock is not None and not self._asking:
            self._sock.close()  # else whoever waits for an answer on it reads its end and closes it
        self._sock, self._pipe, self._child = None, None, None
        if not self._closing and not self._resting:
            _log.warning("The zygote ended (%s); a new one is started.", child.exit)
            task = self._loop.create_task(self._start_again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start_again(self) -> None:
        async with self._lock:
            if self._sock is None and self._failures < _MAX_FAILURES:
                try:
                    await self._start()
                except EngineError as error:
                    _log.warning("No new zygote: %s", error)
