"""The joined parts of one server process: what goes on beside serving, and how they end.

Made by `assembly`, held by `server_process`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from penstock.control.database import Database
from penstock.control.environments import Environments
from penstock.control.pools import Pools
from penstock.control.predict import Predictor
from penstock.control.prediction_log import PredictionLog
from penstock.control.webhooks import Webhooks
from penstock.core.errors import PenstockError
from penstock.engine.base import Engine
from penstock.server.endpoints import Parts
from penstock.server.gateway.run_desk import RunDesk
from penstock.stores.parquet_logger import remove_old_days
from penstock.wiring.insight_parts import InsightParts

log = logging.getLogger("penstock.server")

#: Seconds between two rounds of deleting what has expired and what nothing uses.
HOUSEKEEPING_S = 3600.0

#: Seconds after which the last use of a key is written down.
KEY_USES_S = 30.0


@dataclass(frozen=True)
class House:
    """The joined parts of one server process."""

    parts: Parts
    database: Database
    engine: Engine
    pools: Pools
    predictor: Predictor
    desk: RunDesk
    webhooks: Webhooks
    insight: InsightParts
    environments: Environments
    predictions: PredictionLog
    predictions_folder: Path
    app: Starlette

    async def close(self, drain_s: float) -> None:
        """Stop what is starting, then what serves within `drain_s` seconds, then the stores."""
        await self.parts.deployments.close()
        await self.parts.deploys.close()
        await self.environments.close()
        await self.parts.runs.close(drain_s)
        await self.pools.close(drain_s)
        await self.engine.close(drain_s)
        await self.webhooks.close()
        await self.predictions.close()
        await self.insight.close()
        try:
            await self.parts.keys.note_uses()
        except PenstockError:
            log.exception("The last uses of keys could not be written.")
        await self.database.close()

    def aside(self) -> list[Coroutine[None, None, None]]:
        """Return what goes on beside serving, until cancelled."""
        return [
            self.keep_tidy(),
            self.note_key_uses(),
            self.warm(),
            *self.insight.aside(),
            self.environments.keep_tidy(HOUSEKEEPING_S, time.time),
        ]

    async def warm(self) -> None:
        """Import the modules named by the setting `preload`; what fails is logged."""
        named = self.parts.settings.preload.split(",")
        modules = tuple(filter(None, (name.strip() for name in named)))
        try:
            if modules:
                await self.engine.warm(modules)
        except PenstockError:
            log.exception("Importing %s ahead failed.", ", ".join(modules))

    async def note_key_uses(self) -> None:
        """Write down which keys were used, every now and then, until cancelled."""
        while True:
            await asyncio.sleep(KEY_USES_S)
            try:
                await self.parts.keys.note_uses()
            except Exception:
                log.exception("The last uses of keys could not be written.")

    async def keep_tidy(self) -> None:
        """Delete expired values and unused files, now and every hour, until cancelled."""
        while True:
            for step in _tidy(self.parts, self.database, self.predictions_folder):
                try:
                    await step
                except Exception:  # noqa: PERF203 - the others are done all the same
                    log.exception("Housekeeping failed; the next attempt is in an hour.")
            await asyncio.sleep(HOUSEKEEPING_S)


def _tidy(parts: Parts, database: Database, predictions: Path) -> Iterator[Awaitable[object]]:
    """Yield each thing to tidy up, to be awaited before the next."""
    yield database.call_memory(database.memory.purge, time.time())
    yield parts.runs.purge()
    yield parts.blobs.collect()
    yield parts.uploads.purge()
    yield parts.audit.purge()
    days = parts.settings.prediction_log_days
    yield asyncio.to_thread(remove_old_days, predictions, days)
