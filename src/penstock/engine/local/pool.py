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
from penstock.core.hardware import wants_gpu
from penstock.engine.base import (
    Call,
    PoolHealth,
    ReplicaStatus,
    Scale,
    VersionKey,
    VersionSpec,
)
from penstock.engine.local import failures, memory_use
from penstock.engine.local.devices import Devices
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.home import Home
from penstock.engine.local.launcher import IsolatedLauncher
from penstock.engine.local.logs import LogTail, OnLine
from penstock.engine.local.replica import Replica
from penstock.engine.local.scaler import Scaler, core_count
from penstock.engine.local.spare import Spare
from penstock.engine.local.supervisor import Supervisor
from penstock.engine.local.surroundings import Surroundings
from penstock.engine.local.template_launcher import TemplateLauncher

_log = logging.getLogger(__name__)


def on_gpu(spec: VersionSpec, devices: Devices) -> bool:
    """Whether the replicas of a version run on GPUs."""
    return len(devices) > 0 and wants_gpu(spec.hardware, can_use=spec.can_use_gpu)


class LocalPool:
    """See `penstock.engine.base.Pool`.

    Args:
        around: What every pool of the engine shares.
        spec: The version.
        home: The folder of the version's processes; removed with the pool.
        spare: Starts the version's template; None where there are no templates.
        on_line: Gets every line the replicas print.
        on_stopped: Called when everything has ended.
        on_asleep: Called when every process has ended until the next call.
    """

    def __init__(
        self,
        around: Surroundings,
        spec: VersionSpec,
        home: Home,
        spare: Spare | None,
        on_line: OnLine | None,
        on_stopped: Callable[[LocalPool], None],
        on_asleep: Callable[[LocalPool], None],
    ) -> None:
        self._spec = spec
        self._home = home
        self._on_stopped = on_stopped
        self._on_asleep = on_asleep
        self._tail = LogTail(on_line, partial(around.on_said, spec.key))
        self._around = around
        self._dispatcher = Dispatcher(around.loop, around.options, spec)
        self._supervisor = Supervisor(spec.key, self._dispatcher, self._tail, self._make)
        self._dispatcher.on_worn = self._supervisor.recycle
        self._template: TemplateLauncher | None = None
        if home.sandbox is not None and home.sandbox.tier == ISOLATED:
            isolated = IsolatedLauncher(around.options, home, spec.environment)
            around = dataclasses.replace(around, launcher=isolated)
        elif spare is not None:
            self._template = TemplateLauncher(around, spare, self._tail, home)
            around = dataclasses.replace(around, launcher=self._template)
        self._around = around
        self._on_gpu = on_gpu(spec, around.devices)
        self._scaler = Scaler(
            around.loop,
            self._dispatcher,
            self._within_devices(spec.scale or Scale.fixed(spec.replicas)),
            around.options.max_replicas or core_count(),
            self._first_count(),
            self._have,
            self._is_coming,
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

    @property
    def is_awake(self) -> bool:
        """Whether it has processes, or is to have some."""
        return bool(self._scaler.wanted or self._supervisor.replicas)

    async def start(self) -> None:
        """Start the replicas; return when the first is ready, at once for one that sleeps.

        Raises:
            LoadFailed: It did not load. Nothing is left running.
        """
        if not self._spec.replicas:
            return
        try:
            await self._supervisor.start(self._first_count())
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
        self._scaler.allow(self._within_devices(scale))

    def facts(self) -> dict[str, Any]:
        """Return the number of replicas wanted and why, and what there is of a template."""
        return {
            "wanted": self._scaler.wanted,
            "why": self._scaler.why,
            "recycled": self._supervisor.recycled,
            "template": self._template.facts() if self._template is not None else {},
            "hardware": "GPU" if self._on_gpu else "CPU",
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
        replica = Replica(
            self._around,
            self._spec,
            self._home,
            self._tail,
            self._dispatcher,
            self._take_devices(),
            self._free_number(),
        )
        if replica.devices:
            self._run(self._give_back_devices(replica))
        return replica

    def _free_number(self) -> int:
        """Return the least number from 1 on that no replica that lives has."""
        taken = {r.id.number for r in self._supervisor.replicas if not r.died.is_set()}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    # --- devices ---

    def _within_devices(self, scale: Scale) -> Scale:
        """Return `scale` with no more replicas than have GPUs of their own."""
        if not self._on_gpu:
            return scale
        most = self._around.devices.places(self._spec.gpu)
        high = most if scale.high is None else min(scale.high, most)
        return dataclasses.replace(scale, low=min(scale.low, most), high=high)

    def _first_count(self) -> int:
        count = self._spec.replicas
        if not self._on_gpu:
            return count
        return min(count, self._around.devices.places(self._spec.gpu))

    def _take_devices(self) -> tuple[str, ...]:
        if not self._on_gpu:
            return ()
        used = [name for replica in self._supervisor.replicas for name in replica.devices]
        return self._around.devices.take(self._spec.gpu, used)

    async def _give_back_devices(self, replica: Replica) -> None:
        try:
            await replica.died.wait()
        finally:
            self._around.devices.give_back(replica.devices)

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

    def _is_coming(self) -> bool:
        """Whether replicas are being started; not between a failure and the next try."""
        return self._moving.locked() or self._supervisor.is_starting

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
                self._on_asleep(self)

    async def _wake(self) -> None:
        """Start replicas again; the calls that wait fail if the version's files are gone."""
        async with self._moving:
            try:
                if self._spec.find_blobs is not None:
                    blobs = await asyncio.to_thread(self._spec.find_blobs)
                    self._spec = dataclasses.replace(self._spec, blobs=blobs)
                await self._around.warm(self._spec.preload)
            except Exception as error:  # noqa: BLE001 - the next call must find it asleep
                self._scaler.sleep()
                ours = error if isinstance(error, PenstockError) else None
                reason = ours or failures.not_woken(self.key, error)
                _log.error("%s cannot be woken: %s", self.key, error, exc_info=ours is None)
                self._dispatcher.fail_queued(lambda: reason)
                return
            self._supervisor.set_count(self._scaler.wanted)
            if self._supervisor.count:
                self._watch_memory()
