"""What the versions of one environment share: a zygote, and launchers that know its interpreter.

The server's own environment has its ground from the start and for good. Any other gets one with
its first version; its zygote rests while all its versions sleep, and goes with the last of them.
Made and used by `local_engine`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.engine.base import Environment, MemoryHandler, SaidHandler
from penstock.engine.local import home
from penstock.engine.local.devices import Devices
from penstock.engine.local.fences import Fences
from penstock.engine.local.launcher import ForkLauncher, ProcessLauncher, SpawnLauncher
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.pool import LocalPool
from penstock.engine.local.spare import Spare
from penstock.engine.local.surroundings import Surroundings
from penstock.engine.local.zygote_client import ZygoteClient
from penstock.engine.sandbox.confinement import Confinement


@dataclass
class Ground:
    """One environment's part of the engine.

    Attributes:
        around: What every replica in the environment shares.
        zygote: Forks its workers; None where workers are spawned.
        spare: Starts its templates; None where there are none.
        pools: Its versions.
    """

    around: Surroundings
    zygote: ZygoteClient | None
    spare: Spare | None
    pools: set[LocalPool] = field(default_factory=set)


class Grounds:
    """The environments of an engine.

    Args:
        loop: The running loop.
        options: Settings.
        scratch: Working folder of the processes.
        orphans: Follows the processes.
        memory: Answers the workers' memory requests.
        on_said: Gets what the workers print.
        confinement: Says how processes are confined; None: not at all.
        fences: Holds workers to their memory.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: EngineOptions,
        scratch: Path,
        orphans: Orphans,
        memory: MemoryHandler,
        on_said: SaidHandler,
        confinement: Confinement | None,
        fences: Fences,
    ) -> None:
        self._loop = loop
        self._options = options
        self._scratch = scratch
        self._orphans = orphans
        self._memory = memory
        self._on_said = on_said
        self._confinement = confinement
        self._fences = fences
        #: One count for all: versions of every environment share the devices.
        self._devices = Devices(options.devices)
        self._grounds: dict[str, Ground] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, environment: Environment | None) -> Ground:
        """Return the ground of an environment, making it if need be; None is the server's own."""
        key = environment.key if environment is not None else ""
        if key not in self._grounds:
            self._grounds[key] = self._make(environment)
        return self._grounds[key]

    def _make(self, environment: Environment | None) -> Ground:
        sandbox = None
        if environment is not None and self._confinement is not None:
            sandbox = self._confinement.for_environment(*home.places(self._scratch, environment))
        spawn = SpawnLauncher(self._options, self._scratch, sandbox, environment)
        launcher: ProcessLauncher = spawn
        zygote, spare = None, None
        if self._options.start_method == "fork":
            zygote = ZygoteClient(
                self._loop, self._options, self._scratch, self._orphans, sandbox, environment
            )
            launcher = ForkLauncher(zygote, spawn)
            if self._options.templates:
                spare = Spare(self._loop, self._options, self._orphans, zygote)
        around = Surroundings(
            self._loop,
            self._options,
            launcher,
            launcher,
            self._orphans,
            self._memory,
            self._on_said,
            self._devices,
            self._fences,
        )
        return Ground(around, zygote, spare)

    def _find(self, pool: LocalPool) -> tuple[str, Ground] | None:
        return next(((k, g) for k, g in self._grounds.items() if pool in g.pools), None)

    def left(self, pool: LocalPool) -> None:
        """Take note that a version has ended; the last one takes its environment's zygote along."""
        found = self._find(pool)
        if found is None:
            return
        key, ground = found
        ground.pools.discard(pool)
        if key and not ground.pools:
            del self._grounds[key]
            self._run(_end(ground))

    def fell_asleep(self, pool: LocalPool) -> None:
        """Take note that a version sleeps; the zygote rests when all of its environment do."""
        found = self._find(pool)
        if found is None or not found[0]:
            return
        ground = found[1]
        if ground.zygote is not None and not any(other.is_awake for other in ground.pools):
            self._run(_rest(ground))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every zygote."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ground in tuple(self._grounds.values()):
            await _end(ground)


async def _end(ground: Ground) -> None:
    if ground.spare is not None:
        await ground.spare.close()
    if ground.zygote is not None:
        await ground.zygote.close()


async def _rest(ground: Ground) -> None:
    if ground.spare is not None:
        await ground.spare.close()
    if ground.zygote is not None:
        await ground.zygote.rest()
