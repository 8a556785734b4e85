"""The running replicas of one version: joins dispatcher, supervisor, template, scaler and logs."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from penstock.codec.sandbox import ISOLATED
from penstock.core.errors import PenstockError
from penstock.engine.base import (
    Call,
    PoolHealth,
    ReplicaStatus,
    Scale,
    VersionKey,
    VersionSpec,
)
from penstock.engine.local import failures, memory_use
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.home import Home
from penstock.engine.local.launcher import IsolatedLauncher
from penstock.engine.local.logs import LogTail, OnLine
from penstock.engine.local.replica import Replica, Surroundings
from penstock.engine.local.scaler import Scaler, core_count
from penstock.engine.local.spare import Spare
from penstock.engine.local.supervisor import Supervisor
from penstock.engine.local.template_launcher import TemplateLauncher

_log = logging.getLogger(__name__)


class LocalPool:
    """See `penstock.engine.base.Pool`.

    Args:
        around: What every pool of the engine shares.
        spec: The version.
        home: The folder of the version's processes; removed with the pool.
        spare: Starts the version's template; None where there are no templates.
        on_line: Gets every line the replicas print.
        on_stopped: Called when everything has ended.
    """

    def __init__(
        self,
        around: Surroundings,
        spec: VersionSpec,
        home: Home,
        spare: Spare | None,
        on_line: OnLine | None,
        on_stopped: Callable[[LocalPool], None],
    ) -> None:
        self._spec = spec
        self._home = home
        self._on_stopped = on_stopped
        self._tail = LogTail(on_line, partial(around.on_said, spec.key))
        self._dispatcher = Dispatcher(around.loop, around.options, spec)
        self._supervisor = Supervisor(spec.key, self._dispatcher, self._tail, self._make)
        self._dispatcher.on_worn = self._supervisor.recycle
        self._template: TemplateLauncher | None = None
        if home.sandbox is not None and home.sandbox.tier == ISOLATED:
            isolated = IsolatedLauncher(around.options, home)
            around = dataclasses.replace(around, launcher=isolated)
        elif spare is not None:
            self._template = TemplateLauncher(around, spare, self._tail, home)
            around = dataclasses.replace(around, launcher=self._template)
        self._around = around
        self._scaler = Scaler(
            around.loop,
            self._dispatcher,
            spec.scale or Scale.fixed(spec.replicas),
            around.options.max_replicas or core_count(),
            spec.replicas,
            self._have,
        )
        self._moving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self.submit = self._dispatcher.submit
        self.cancel = self._dispatcher.cancel

    @property
    def key(self) -> VersionKey:
        """The version."""
        return self._spec.key

    async def start(self) -> None:
        """Start the replicas; return when the first is ready, at once for one that sleeps.

        Raises:
            LoadFailed: It did not load. Nothing is left running.
        """
        if not self._spec.replicas:
            return
        try:
            await self._supervisor.start(self._spec.replicas)
        except BaseException:
            self._scaler.stop()
            await self._end_template()
            await asyncio.to_thread(self._home.remove)
            raise
        self._scaler.started()
        self._watch_memory()

    def status(self) -> list[ReplicaStatus]:
        """Return the replicas."""
        restarts = self._supervisor.restarts
        return [
            dataclasses.replace(replica.status(), restarts=restarts)
            for replica in self._supervisor.replicas
        ]

    def health(self) -> PoolHealth:
        """Return how the replicas fare."""
        return self._supervisor.health

    def keep_waiting(self, wanted: bool) -> None:
        """Let calls wait (or not) while replicas die again and again."""
        self._supervisor.patient = wanted

    def release(self) -> list[Call]:
        """Forget the calls that no replica has begun, and return them, oldest first."""
        return self._dispatcher.release()

    def scale(self, scale: Scale) -> None:
        """Take new limits for the number of replicas."""
        self._scaler.allow(scale)

    def facts(self) -> dict[str, Any]:
        """Return the number of replicas wanted and why, and what there is of a template."""
        return {
            "wanted": self._scaler.wanted,
            "why": self._scaler.why,
            "recycled": self._supervisor.recycled,
            "template": self._template.facts() if self._template is not None else {},
        }

    def logs(self) -> list[str]:
        """Return the last lines the replicas printed, oldest first."""
        return self._tail.lines()

    async def stop(self, drain_s: float) -> None:
        """Take no more calls, answer those taken within `drain_s` seconds, end the replicas."""

        def why() -> PenstockError:
            return failures.stopping(self._spec.key)

        self._dispatcher.stop_taking(why)
        try:
            await asyncio.wait_for(self._dispatcher.idle.wait(), drain_s)
        except asyncio.TimeoutError:
            self._dispatcher.fail_queued(why)
        self._scaler.stop()
        for task in (*self._tasks, *filter(None, [self._watcher])):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._supervisor.stop()
        self._dispatcher.fail_queued(why)
        await self._end_template()
        await asyncio.to_thread(self._home.remove)
        self._on_stopped(self)

    def _make(self) -> Replica:
        return Replica(self._around, self._spec, self._home, self._tail, self._dispatcher)

    async def _end_template(self) -> None:
        if self._template is not None:
            await self._template.close()

    def _watch_memory(self) -> None:
        limit = self._spec.memory_limit_bytes
        if limit is not None and self._watcher is None:
            every_s = self._around.options.memory_check_s
            watch = memory_use.watch(self._supervisor, limit, every_s)
            self._watcher = asyncio.create_task(watch)

    # --- how many ---

    def _have(self, count: int) -> None:
        """Have `count` replicas, from now on."""
        _log.info("%s shall have %d replicas: %s.", self.key, count, self._scaler.why)
        if not count:
            self._supervisor.set_count(0)  # at once: a call that wakes it again must find it so
            self._run(self._sleep())
        elif self._supervisor.count:
            self._supervisor.set_count(count)
        else:
            self._run(self._wake())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sleep(self) -> None:
        """End the template when the replicas, which were let go, have answered and ended."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        await self._supervisor.emptied()
        async with self._moving:
            if not self._scaler.wanted:
                await self._end_template()

    async def _wake(self) -> None:
        """Start replicas again; the calls that wait fail if the version's files are gone."""
        async with self._moving:
            try:
                if self._spec.find_blobs is not None:
                    blobs = await asyncio.to_thread(self._spec.find_blobs)
                    self._spec = dataclasses.replace(self._spec, blobs=blobs)
                await self._around.warm(self._spec.preload)
            except PenstockError as error:
                self._scaler.sleep()
                _log.error("%s cannot be woken: %s", self.key, error)
                reason = error
                self._dispatcher.fail_queued(lambda: reason)
                return
            self._supervisor.set_count(self._scaler.wanted)
            if self._supervisor.count:
                self._watch_memory()
