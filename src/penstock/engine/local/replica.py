"""One worker process as the server sees it: started, loaded, handed calls, ended.

A `Replica` lives once. `Dispatcher` gives it calls, `Supervisor` makes the next one when it ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import Any, Protocol

from penstock.codec.frames import Reply
from penstock.codec.worker_messages import Cancel, FromWorker, Notice, Ready, Stop
from penstock.core.errors import EngineError, FrameError, LoadFailed
from penstock.core.run_records import ReplicaId
from penstock.engine.base import Answer, Call, ReplicaStatus, VersionSpec
from penstock.engine.local import begun, failures, pipes, talk, worker_facts
from penstock.engine.local.begun import Place
from penstock.engine.local.channel import Channel
from penstock.engine.local.exits import Child, Exit
from penstock.engine.local.home import Home
from penstock.engine.local.loading import load_message, secrets_of
from penstock.engine.local.logs import LogPipe, LogTail
from penstock.engine.local.surroundings import Surroundings
from penstock.engine.local.window import CALL_WEIGHT

#: How long a worker that was told to stop, or said that it failed, may take to end, in seconds.
_END_S = 2.0

Told = tuple[FromWorker | None, dict[str, Any]]


class Owner(Protocol):
    """Who hands calls to a replica and wants to know what becomes of them."""

    def answered(self, call: Call, answer: Answer) -> None:
        """A call that was still wanted is answered."""

    def expired(self, call: Call) -> None:
        """The worker found a call's time over before it began it."""

    def has_room(self) -> None:
        """Replies came: a replica can take more calls."""

    def worn(self, replica: Replica) -> None:
        """The worker asks to be replaced; it answers what it can."""

    def lost(self, replica: Replica, place: Place) -> None:
        """The replica's process ended; `replica.outstanding` are the calls it had."""


class Replica:
    """One worker process.

    Attributes:
        id: Its number, which the pool gives, and its process id.
        outstanding: Calls handed over and not answered, by id, oldest first.
        inline_bytes: Bytes of their bodies that go through the socket.
        weight: How much work they are, in bytes: those of all bodies and `CALL_WEIGHT` a call.
        suspect: It is inside a call that is over its time limit: give it no more.
        devices: The GPUs it may use; given back when the process is gone.
        exit: How the process ended, None before.
        killed_because: Why we killed it, if we did.
        died: Set when the process is gone.
        ended: Set when everything it had is let go, too.
    """

    def __init__(
        self,
        around: Surroundings,
        spec: VersionSpec,
        home: Home,
        tail: LogTail,
        owner: Owner,
        devices: tuple[str, ...] = (),
        number: int = 1,
    ) -> None:
        self.id = ReplicaId(number, 0)
        self.devices = devices
        self._around = around
        self._spec = spec
        self._home = home
        self._scratch = home.folder("worker")
        self._tail = tail
        self._owner = owner
        self._next_id = 0
        self._child: Child | None = None
        self._launching: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._last_task: asyncio.Task[None] | None = None
        self._answer_to_load: asyncio.Future[Told] = around.loop.create_future()
        self.outstanding: dict[int, Call] = {}
        self.inline_bytes = 0
        self.weight = 0
        self.suspect, self.calls = False, 0
        self.state = "starting"
        self.facts: dict[str, Any] = {}
        self.started_at = time.time()
        self.ready_at = 0.0
        self._launched_at = 0.0
        self.killed_because = ""
        self.died = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id; 0 when there is none (any more)."""
        child = self._child
        return child.pid if child is not None and child.exit is None else 0

    @property
    def exit(self) -> Exit | None:
        """How the process ended; None while it runs."""
        return self._child.exit if self._child is not None else None

    async def start(self) -> None:
        """Start the process and load the version.

        Raises:
            LoadFailed: It did not load, died, or took too long; the process is gone.
            EngineError: No process could be started.
        """
        await self._around.launcher.prepare(self._spec)
        self._launched_at = time.monotonic()
        self._launching = asyncio.create_task(self._launch())
        # A worker that is on its way cannot be called back: it comes, and then `stop` ends it.
        await asyncio.shield(self._launching)
        await self._load()

    async def _launch(self) -> None:
        try:
            await self._launch_process()
        except BaseException:
            self.died.set()
            raise

    async def _launch_process(self) -> None:
        try:
            self._home.make(self._scratch)
            ours, theirs = pipes.create()
        except OSError as error:
            raise EngineError(f"No worker of {self._spec.key} can be started: {error}.") from None
        try:
            self._attach(ours, await self._around.launcher.launch(theirs))
        except BaseException:
            ours.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        finally:
            theirs.close()

    def _attach(self, ours: pipes.ServerEnds, pid: int) -> None:
        around, loop = self._around, self._around.loop
        self.state, self.id = "loading", ReplicaId(self.id.number, pid)
        self._page = ours.page
        most = around.options.max_result_bytes
        self._channel = Channel(loop, ours.data, self._replied, self._give_up, most)
        self._log_pipe = LogPipe(loop, ours.log, self._tail, around.options.log_bytes_per_s)
        self._control = talk.Control(ours.control, self._heard)
        self._memory_sock = ours.memory
        memory = talk.serve_memory(ours.memory, self._spec.key, around.memory)
        self._tasks = [
            loop.create_task(self._guard(self._control.listen())),
            loop.create_task(self._guard(memory)),
        ]
        around.orphans.follow(pid)
        self._fencing = loop.create_task(around.fences.put(pid, self._spec.memory_limit_bytes))
        self._child = Child(loop, pid, self._on_exit)

    async def _guard(self, conversation: Any) -> None:
        try:
            await conversation
        except FrameError as error:
            self._give_up(f"does not speak the protocol: {error.message}")

    async def _load(self) -> None:
        secrets = await secrets_of(self._spec)
        self._tail.hide(secrets.values())
        options = self._around.options
        load = load_message(self._spec, self._scratch, self._home, secrets, self.devices, options)
        self._control.send(load)
        limit = options.load_timeout_s
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes with the answer,
        # and the supervisor's `stop` would wait for ever for a task that was told to end.
        await asyncio.wait({self._answer_to_load}, timeout=limit)
        said, told = self._answer_to_load.result() if self._answer_to_load.done() else (None, {})
        if not self._answer_to_load.done():
            self.kill(f"loading took longer than {limit:g} s")
        # One that said so and died in the same moment is found dead here before it was ready.
        if isinstance(said, Ready) and self.exit is None:
            self.state, self.ready_at = "ready", time.monotonic()
            start_ms = (self.ready_at - self._launched_at) * 1e3
            self.facts = {**told, "load_ms": said.load_ms, "start_ms": start_ms}
            if self.devices:
                self.facts["devices"] = list(self.devices)
            return
        await self._wait_for_end()
        raise self._load_error(said, told)

    def _load_error(self, said: FromWorker | None, told: dict[str, Any]) -> LoadFailed:
        lines = self._tail.lines()
        if said is not None and not isinstance(said, Ready):
            return failures.load_failed(self._spec.key, told, lines)
        return failures.died_loading(self._spec.key, self.exit, self.killed_because, lines)

    # --- calls ---

    def hand(self, call: Call) -> None:
        """Give the worker a call. Raises `OSError`: a large body cannot be handed over."""
        self._next_id += 1
        call_id = self._next_id
        self._channel.send(call_id, call)  # may fail, and then the call is not ours
        self.outstanding[call_id] = call
        self.weight += call.body.size + CALL_WEIGHT
        if call.body.data is not None:
            self.inline_bytes += call.body.size
        call.state = self

    def forget(self, call: Call) -> None:
        """Tell the worker that nobody waits for `call`."""
        for call_id, held in self.outstanding.items():
            if held is call:
                self._control.send(Cancel([call_id]))
                return

    def _replied(self, replies: list[tuple[Reply, bytes | memoryview | None]]) -> None:
        outstanding, owner, this = self.outstanding, self._owner, self.id
        self.suspect = False
        for reply, body in replies:
            call = outstanding.pop(reply.call_id, None)
            if call is None:
                raise FrameError("A reply to no call.")
            self.weight -= call.body.size + CALL_WEIGHT
            if call.body.data is not None:
                self.inline_bytes -= call.body.size
            else:
                call.body.give_back()
            self.calls += 1
            if call.state is not self:
                continue
            if body is None:
                most = self._around.options.max_result_bytes
                error = failures.result_too_large(self._spec.key, call, reply.body_size, most)
                owner.answered(call, Answer(error.code, error=error, replica=this))
            elif reply.code and not body:
                owner.expired(call)
            else:
                code = reply.code.decode("latin-1") if reply.code else ""
                owner.answered(call, Answer(code, reply.media, reply.timing, body, None, this))
        owner.has_room()

    def place(self) -> Place:
        """Return how far the worker got with its calls."""
        return begun.read(self._page)

    # --- messages ---

    def _heard(self, message: FromWorker, told: dict[str, Any]) -> None:
        if isinstance(message, Notice):
            self.facts = worker_facts.joined(self.facts, told)
            if "worn" in told:
                self._owner.worn(self)
        elif not self._answer_to_load.done():
            self._answer_to_load.set_result((message, told))

    # --- the end ---

    def kill(self, because: str) -> None:
        """End the process by SIGKILL."""
        self.killed_because = self.killed_because or because
        if self._child is not None:
            self._child.kill()

    def _give_up(self, reason: str) -> None:
        """The worker's end of a socket closed (it is dying, or soon will be) or it is hostile."""
        if self._child is not None:
            if reason != "closed its socket":
                self.killed_because = self.killed_because or f"it {reason}"
            self._child.kill()

    async def stop(self) -> None:
        """Have the worker answer what it holds and end; kill it when it takes too long."""
        if self._launching is not None:
            await asyncio.gather(self._launching, return_exceptions=True)
        if self._child is None:
            return
        if self.state == "ready":
            self.state = "stopping"
            self._control.send(Stop())
            await self._wait_for_end()
        self.kill("it was stopped")
        await self.ended.wait()

    async def _wait_for_end(self) -> None:
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({ended}, timeout=_END_S)
            if not ended.done():
                self.kill("it did not end by itself")
                await ended
        finally:
            ended.cancel()

    def _on_exit(self, child: Child) -> None:
        """Take the last replies, give the other calls back, then tidy up."""
        self.state = "dead"
        self._channel.close()
        fences = self._around.fences
        self.killed_because = self.killed_because or fences.why_ended(child.pid)
        place = self.place()
        os.close(self._page)
        self._owner.lost(self, place)
        self.outstanding.clear()
        self.weight = 0
        self.died.set()
        self._around.orphans.forget(child.pid)
        self._around.orphans.end_session(child.pid)
        self._last_task = self._around.loop.create_task(self._tidy_up(child.pid))

    async def _tidy_up(self, pid: int) -> None:
        """Read the last message and lines, then let go of everything."""
        await self._fencing
        await self._around.fences.take(pid)
        await asyncio.wait(self._tasks[:1], timeout=_END_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._log_pipe.close()
        self._control.close()
        self._memory_sock.close()
        if not self._answer_to_load.done():
            self._answer_to_load.set_result((None, {}))
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)
        self.ended.set()

    def status(self) -> ReplicaStatus:
        """Return the replica as people see it."""
        return ReplicaStatus(
            pid=self.id.pid,
            state=self.state,
            started_at=self.started_at,
            calls=self.calls,
            in_flight=len(self.outstanding),
            facts=dict(self.facts),
            number=self.id.number,
        )
