"""The engine that runs versions as local processes. Made by `wiring`; one per server process."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from penstock.engine.base import MemoryHandler, SaidHandler, VersionSpec
from penstock.engine.local import failures, lifeline
from penstock.engine.local.fences import Fences
from penstock.engine.local.grounds import Grounds
from penstock.engine.local.home import Home
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.pool import LocalPool, on_gpu
from penstock.engine.sandbox import cgroups
from penstock.engine.sandbox.confinement import Confinement
from penstock.engine.sandbox.state import SandboxState

#: How often dead orphans are reaped, in seconds.
_SWEEP_S = 5.0


class LocalEngine:
    """See `penstock.engine.base.Engine`. To be made inside the running loop.

    Args:
        memory: Answers the workers' memory requests.
        scratch: A folder for the workers' working directories; emptied at start.
        options: Settings.
        on_said: Gets every line that workers print.
    """

    def __init__(
        self,
        memory: MemoryHandler,
        scratch: Path,
        options: EngineOptions | None = None,
        on_said: SaidHandler = lambda _key, _said: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options or EngineOptions()
        self._scratch = scratch
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        scratch.chmod(0o711)  # a project's own user goes through, and lists nothing
        lifeline.become_subreaper()
        lifeline.raise_descriptor_limit()
        self._orphans = Orphans()
        sandbox = self._options.sandbox
        self._confinement = Confinement(sandbox, scratch) if sandbox is not None else None
        controllers, self._no_groups = None, "The settings say so."
        if self._options.memory_guard == "auto":  # before the first process is started
            controllers, self._no_groups = cgroups.find()
        self._groups_version = controllers.version if controllers is not None else 0
        self._grounds = Grounds(
            self._loop,
            self._options,
            scratch,
            self._orphans,
            memory,
            on_said,
            self._confinement,
            Fences(controllers),
        )
        self._own = self._grounds.of(None)
        self._closed = False
        self._warming: set[asyncio.Task[None]] = set()
        self._pools: set[LocalPool] = set()
        self._sweeper = self._loop.create_task(self._sweep())

    @property
    def spare_pid(self) -> int:
        """The process id of the template kept ready for the next version; 0 when there is none."""
        return self._own.spare.pid if self._own.spare is not None else 0

    @property
    def zygote_pid(self) -> int:
        """The zygote's process id; 0 when there is none."""
        return self._own.zygote.pid if self._own.zygote is not None else 0

    @property
    def sandbox(self) -> SandboxState | None:
        """How workers are confined here; None: not at all."""
        if self._confinement is None:
            return None
        found = self._groups_version
        state = self._confinement.state
        if found:
            return dataclasses.replace(state, memory=f"cgroup v{found}")
        why = f"Memory is watched, not limited by the kernel: {self._no_groups}"
        return dataclasses.replace(state, notes=(*state.notes, why))

    async def start(
        self, spec: VersionSpec, on_line: Callable[[str], None] | None = None
    ) -> LocalPool:
        """Start a version; see `Engine.start`. `on_line` gets every line its workers print."""
        if self._closed:
            raise failures.stopping(spec.key)
        home = Home(self._scratch, spec, self._confinement)
        ground = self._grounds.of(spec.environment)
        # A process that has opened a GPU cannot be forked: each worker loads the version itself.
        spare = None if on_gpu(spec, ground.around.devices) else ground.spare
        pool = LocalPool(ground.around, spec, home, spare, on_line, self._forget, self._fell_asleep)
        self._pools.add(pool)
        ground.pools.add(pool)
        if not spec.replicas:
            if spec.environment is None:
                self._import_later(spec.preload)
            return pool
        try:
            await ground.around.warm(spec.preload)
            await pool.start()
        except BaseException:
            self._forget(pool)
            raise
        return pool

    def _forget(self, pool: LocalPool) -> None:
        self._pools.discard(pool)
        self._grounds.left(pool)

    def _fell_asleep(self, pool: LocalPool) -> None:
        self._grounds.fell_asleep(pool)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Import libraries ahead of the first version that needs them."""
        await self._own.around.warm(modules)
        if self._own.spare is not None:
            self._own.spare.renew()

    def _import_later(self, modules: tuple[str, ...]) -> None:
        """Import for versions that sleep, so that the first to wake need not wait for it."""
        task = self._loop.create_task(self.warm(modules))
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    async def close(self, drain_s: float) -> None:
        """Stop everything and leave no process behind."""
        self._closed = True
        await asyncio.gather(*(pool.stop(drain_s) for pool in tuple(self._pools)))
        self._sweeper.cancel()
        for task in self._warming:
            task.cancel()
        await self._grounds.close()
        while self._orphans.end_all():  # noqa: ASYNC110 - nobody tells us when orphans end
            await asyncio.sleep(0.005)

    def sweep(self) -> None:
        """Reap dead processes that user code left behind; done every few seconds anyway."""
        self._orphans.sweep()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep()
