"""The leases of claimed runs: renewed while they are held, taken back when nobody renews them.

One per `RunExecutor`, which holds the runs. A claim that is not renewed in time belongs to a server
that is gone, or was given up; the run is queued again, or fails when it has lost too many attempts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from penstock.control.database import Database
from penstock.control.run_lanes import Held
from penstock.control.run_outcomes import error_json
from penstock.core.errors import WorkerDied
from penstock.core.faults import skipped

log = logging.getLogger("penstock.runs")


class Losses(NamedTuple):
    """What is called about runs whose lease was lost.

    Attributes:
        abort: With what is held of a run that is somebody else's by now.
        wake: With project and deployment of runs that are queued again.
        ended: With each run that has failed, and whether a webhook is to be told.
    """

    abort: Callable[[Held], None]
    wake: Callable[[str, str], None]
    ended: Callable[[str, bool], None]


class RunLeases:
    """Keeps leases. Every method runs on the event loop.

    Args:
        database: Where runs are.
        held: The claimed runs by run id and attempt; the executor changes it.
        losses: What to call.
        lease_s: Seconds a claim holds; renewed three times as often.
        max_crashes: Attempts a run may lose.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        held: Mapping[tuple[str, int], Held],
        losses: Losses,
        lease_s: float,
        max_crashes: int,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._held = held
        self._losses = losses
        self._lease_s = lease_s
        self._max_crashes = max_crashes
        self._now = now

    async def beat(self) -> None:
        """Renew what is held and take back what nobody renews, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if self._held and not skipped("run.heartbeat"):
                    await self._renew()
                await self.reclaim(None)
            except Exception:  # whatever it was, the next beat may do better
                log.exception("The leases of runs could not be renewed.")

    async def _renew(self) -> None:
        store, until = self._database.records.runs, self._now() + self._lease_s
        for key in await self._database.call(store.renew, list(self._held), until):
            held = self._held.get(key)
            if held is not None:
                self._losses.abort(held)

    async def reclaim(self, sole_owner: str | None) -> None:
        """Take back what nobody renewed; with `sole_owner`, all that another owner holds."""
        error = WorkerDied(
            f"The run lost {self._max_crashes} attempts to the end of the process it was in."
        )
        back = await self._database.call(
            self._database.records.runs.reclaim,
            self._now(),
            sole_owner,
            self._max_crashes,
            error_json(error),
        )
        for name in back.requeued:
            self._losses.wake(*name)
        for run in back.failed:
            self._losses.ended(run.run_id, run.webhook_url is not None)
