"""Which version of each deployment serves, and the moment when that changes.

The only place that moves a route. `Deploys`, `Versions` (activate, delete) and `Deployments`
(restart, delete) act through one `Serving`, and hold its lock of the deployment while they do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from penstock.control.database import Database
from penstock.control.deploy_failures import as_ours
from penstock.control.pools import Pools, key_of
from penstock.control.predict import Predictor, Tally
from penstock.control.scaling import scale_of
from penstock.core.errors import PenstockError
from penstock.core.faults import fault
from penstock.core.records import Scaling, VersionRecord
from penstock.engine.base import Pool, Scale, VersionKey

log = logging.getLogger("penstock.versions")

Name = tuple[str, str]

#: Seconds between attempts to start an active version that does not start.
RETRY_S = (1.0, 2.0, 5.0, 15.0, 60.0)


class Serving:
    """Routes, pools and per-deployment locks. Every method runs on the event loop.

    Args:
        database: Where the active version is remembered.
        pools: The running versions.
        predictor: Owner of the route table.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        pools: Pools,
        predictor: Predictor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.pools = pools
        self.now = now
        self._predictor = predictor
        self._locks: dict[Name, asyncio.Lock] = {}
        self._active: dict[Name, VersionRecord] = {}
        self._problems: dict[Name, PenstockError] = {}
        self._scalings: dict[Name, Scaling] = {}
        pools.scale_of = self.scale_of
        #: Told of every switch: the version that serves now, the one before it.
        self.on_switch: list[Callable[[VersionRecord, VersionRecord | None], None]] = []
        #: Told of every version that serves again after the server started.
        self.on_return: list[Callable[[VersionRecord, VersionRecord | None], None]] = []

    def lock(self, project: str, name: str) -> asyncio.Lock:
        """Return the lock that serialises changes of one deployment."""
        return self._locks.setdefault((project, name), asyncio.Lock())

    def active_record(self, project: str, name: str) -> VersionRecord | None:
        """Return the version that serves the deployment, or shall serve it, or None."""
        return self._active.get((project, name))

    def active_pool(self, project: str, name: str) -> Pool | None:
        """Return the pool that serves the deployment, or None."""
        record = self._active.get((project, name))
        return self.pools.get(key_of(record)) if record is not None else None

    def scale_of(self, record: VersionRecord) -> Scale:
        """Return how many replicas a version may have."""
        return scale_of(record.settings, self.scaling(record.project, record.deployment))

    def scaling(self, project: str, name: str) -> Scaling:
        """Return the deployment's own limits for the number of replicas."""
        return self._scalings.get((project, name), Scaling())

    def remember_scaling(self, project: str, name: str, scaling: Scaling) -> None:
        """Take a deployment's limits as they are on record; the version that serves obeys them."""
        self._scalings[project, name] = scaling
        record, pool = self._active.get((project, name)), self.active_pool(project, name)
        if record is not None and pool is not None:
            pool.scale(self.scale_of(record))

    async def set_scaling(self, project: str, name: str, scaling: Scaling) -> None:
        """Change a deployment's limits, for this version and the next ones.

        The caller holds the deployment's lock.
        """
        await self.database.call(
            self.database.records.set_scaling, project, name, scaling, self.now()
        )
        self.remember_scaling(project, name, scaling)

    def tally(self, project: str, name: str) -> Tally | None:
        """Return what the version that serves has answered, or None when none runs."""
        pool = self.active_pool(project, name)
        return self._predictor.tallies.get(pool.key) if pool is not None else None

    def problem(self, project: str, name: str) -> PenstockError | None:
        """Return why the active version does not start, if it does not."""
        return self._problems.get((project, name))

    def not_serving(self) -> list[str]:
        """Return the deployments whose active version does not run, as `project/name`."""
        idle = [n for n, record in self._active.items() if self.pools.get(key_of(record)) is None]
        return sorted(f"{project}/{name}" for project, name in idle)

    async def activate(self, record: VersionRecord, pool: Pool) -> None:
        """Make a running version the one that serves; drain the one before it.

        The caller holds the deployment's lock. If this raises, the version before it serves on,
        and `record` is stopped.
        """
        project, name = record.project, record.deployment
        before = self._active.get((project, name))
        self.pools.keep(key_of(record))
        try:
            await self.database.call(
                self.database.records.activate, project, name, record.number, self.now()
            )
        except BaseException:
            if before is None or before.number != record.number:
                self.withdraw_version(key_of(record))
            raise
        fault("serving.activated")
        self._serve(record, pool)
        fault("serving.switched")
        if before is not None and before.number != record.number:
            self.withdraw_version(key_of(before))
        for tell in self.on_switch:
            tell(record, before)

    def _serve(self, record: VersionRecord, pool: Pool) -> None:
        name = (record.project, record.deployment)
        self._active[name] = record
        self._problems.pop(name, None)
        pool.scale(self.scale_of(record))
        self._predictor.set_route(*name, None, pool, record.settings.timeout_s)

    def expect(self, record: VersionRecord) -> None:
        """Note that `record` is active but not running yet, so that calls are told to wait."""
        self._active[record.project, record.deployment] = record
        self._predictor.set_starting(record.project, record.deployment)

    async def restart(
        self, record: VersionRecord, before: VersionRecord | None, slots: asyncio.Semaphore
    ) -> None:
        """Start a version noted by `expect`, again and again until it serves or is replaced.

        `before` is the version that it took over from, as far as that is known.
        """
        name = (record.project, record.deployment)
        attempt = 0
        while self._active.get(name) is record:
            async with slots:
                error = await self._try_start(record)
            if error is None:
                for tell in self.on_return:
                    tell(record, before)
                return
            self._problems[name] = error
            pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
            log.error("%s does not start: %s Next attempt in %g s.", key_of(record), error, pause)
            attempt += 1
            await asyncio.sleep(pause)

    async def _try_start(self, record: VersionRecord) -> PenstockError | None:
        name = (record.project, record.deployment)
        try:
            pool = await self.pools.start(record, asleep=self.scale_of(record).low == 0)
        except Exception as error:  # noqa: BLE001 - it must be tried again, whatever it was
            return as_ours(error, f"The start of {key_of(record)}")
        async with self.lock(*name):
            if self._active.get(name) is record:
                self.pools.keep(key_of(record))  # a call by its number may have started it
                self._serve(record, pool)
            else:
                self.pools.stop(key_of(record))
        return None

    def serve_version(self, record: VersionRecord, pool: Pool) -> None:
        """Route `/versions/<n>/predict` of a version to its pool."""
        self._predictor.set_route(
            record.project, record.deployment, record.number, pool, record.settings.timeout_s
        )

    def withdraw(self, project: str, name: str, numbers: list[int]) -> None:
        """Take a deployment's routes away and drain whatever runs of it."""
        self._active.pop((project, name), None)
        self._problems.pop((project, name), None)
        self._scalings.pop((project, name), None)
        self._predictor.remove_route(project, name, None)
        for number in numbers:
            self.withdraw_version(VersionKey(project, name, number))

    def withdraw_version(self, key: VersionKey) -> None:
        """Take one version's own route away and drain it."""
        self._predictor.remove_route(key.project, key.deployment, key.number)
        self._predictor.tallies.pop(key, None)
        self.pools.stop(key)
