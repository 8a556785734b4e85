"""What every replica of an engine shares; made by `local_engine`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from penstock.engine.base import MemoryHandler, SaidHandler
from penstock.engine.local.devices import Devices
from penstock.engine.local.fences import Fences
from penstock.engine.local.launcher import Launcher, ProcessLauncher
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans


@dataclass(frozen=True)
class Surroundings:
    """What every replica of an engine shares; only `launcher` may be a version's own."""

    loop: asyncio.AbstractEventLoop
    options: EngineOptions
    launcher: Launcher
    direct: ProcessLauncher
    orphans: Orphans
    memory: MemoryHandler
    on_said: SaidHandler
    devices: Devices = field(default_factory=Devices)
    fences: Fences = field(default_factory=Fences)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Import modules ahead of the workers that need them."""
        await self.direct.warm(modules)
