"""Listing and deleting deployments, and starting them again when the server starts.

Called by `penstock.server.routes.deployments`, the dashboard and `penstock.wiring`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from penstock.control.database import Database
from penstock.control.remains import Remains
from penstock.control.scaling import changed
from penstock.control.serving import Serving
from penstock.control.status import DeploymentView, deployment_view, scaling_view
from penstock.core.errors import LoadFailed, NotFound
from penstock.core.faults import fault
from penstock.core.records import DeploymentRecord, VersionRecord
from penstock.core.states import VersionState

log = logging.getLogger("penstock.versions")


class Deployments:
    """Deployments of projects. Every method runs on the event loop.

    Args:
        database: Where deployments are kept.
        serving: Routes, pools and locks.
        endpoint: URL of a deployment's predict call, by project and name.
        remains: Clears the rest of what is known of one that is deleted.
        starts_at_once: Versions started at the same time by `restore`.
    """

    def __init__(
        self,
        database: Database,
        serving: Serving,
        endpoint: Callable[[str, str], str],
        remains: Remains,
        *,
        starts_at_once: int,
    ) -> None:
        self._database = database
        self._serving = serving
        self._endpoint = endpoint
        self._remains = remains
        self._slots = asyncio.Semaphore(starts_at_once)
        self._restarts: set[asyncio.Task[None]] = set()

    async def list(
        self, project: str | None = None, *, with_traceback: bool = False
    ) -> list[DeploymentView]:
        """Return the deployments of a project (None: of all), by name; see `get`."""
        records = await self._database.call(self._database.records.list_deployments, project)
        return [self._view(record, with_traceback) for record in records]

    async def get(self, project: str, name: str, *, with_traceback: bool = False) -> DeploymentView:
        """Return a deployment.

        Args:
            project: The project.
            name: The deployment.
            with_traceback: Whether the reader may see user code's traceback.

        Raises:
            NotFound: There is no such deployment.
        """
        return self._view(await self._find(project, name), with_traceback)

    def _view(self, record: DeploymentRecord, with_traceback: bool) -> DeploymentView:
        pool = self._serving.active_pool(record.project, record.name)
        problem = self._serving.problem(record.project, record.name)
        active = self._serving.active_record(record.project, record.name)
        scale = self._serving.scale_of(active) if active is not None else None
        return deployment_view(
            record,
            scaling=scaling_view(scale, pool.facts() if pool is not None else {}),
            endpoint=self._endpoint(record.project, record.name),
            replicas=pool.status() if pool is not None else (),
            tally=self._serving.tally(record.project, record.name),
            starting=record.active is not None and pool is None,
            problem=problem.to_dict() if problem is not None else None,
            health=pool.health() if pool is not None else None,
            with_traceback=with_traceback,
        )

    async def _find(self, project: str, name: str) -> DeploymentRecord:
        database = self._database
        record = await database.call(database.records.get_deployment, project, name)
        if record is None:
            raise NotFound(f"There is no deployment {name!r} in project {project!r}.")
        return record

    async def scale(self, project: str, name: str, changes: Mapping[str, Any]) -> DeploymentView:
        """Change how many replicas a deployment may have, for this version and the next ones.

        Who may do this may deploy, and is shown tracebacks.

        Args:
            project: The project.
            name: The deployment.
            changes: `min_replicas`, `max_replicas`, `cooldown_s`, as far as they change; None takes
                a limit back.

        Raises:
            NotFound: There is no such deployment.
            InvalidSetting: A limit is out of range.
        """
        async with self._serving.lock(project, name):
            record = await self._find(project, name)
            wanted = changed(record.scaling, changes)
            await self._serving.set_scaling(project, name, wanted)
            return self._view(await self._find(project, name), with_traceback=True)

    async def delete(self, project: str, name: str) -> None:
        """Delete a deployment with its versions, memory and history; calls in hand are answered.

        Raises:
            NotFound: There is no such deployment.
            StoreError: It serves on; or it is deleted, and the next deploy of its name clears the
                rest of it.
        """
        database = self._database
        async with self._serving.lock(project, name):
            record = await self._find(project, name)
            # First of all on record: what cannot be deleted serves on.
            await database.call(database.records.delete_deployment, project, name)
            fault("deployment.deleted")
            numbers = [version.number for version in record.versions]
            self._serving.withdraw(project, name, numbers)
            await self._remains.clear(project, name, max(numbers, default=0))

    async def restore(self) -> None:
        """Bring back what served before the server stopped; returns before all of it serves.

        A version that was being deployed then is marked as failed.
        """
        database = self._database
        for deployment in await database.call(database.records.list_deployments, None):
            self._serving.remember_scaling(deployment.project, deployment.name, deployment.scaling)
            for record in deployment.versions:
                if record.state is VersionState.DEPLOYING:
                    await self._mark_interrupted(record)
                if record.number == deployment.active:
                    self._serving.expect(record)
                    self._restart(record, _predecessor(deployment, record))

    async def _mark_interrupted(self, record: VersionRecord) -> None:
        error = LoadFailed(
            "The server stopped while the version was being deployed.", hint="Deploy again."
        )
        await self._database.call(
            self._database.records.set_version_state,
            record.project,
            record.deployment,
            record.number,
            VersionState.FAILED,
            at=self._serving.now(),
            failure=error.to_dict(),
        )

    def _restart(self, record: VersionRecord, before: VersionRecord | None) -> None:
        task = asyncio.create_task(self._serving.restart(record, before, self._slots))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def close(self) -> None:
        """Give up the starts that `restore` began."""
        for task in self._restarts:
            task.cancel()
        if self._restarts:
            await asyncio.wait(set(self._restarts))


def _predecessor(deployment: DeploymentRecord, active: VersionRecord) -> VersionRecord | None:
    """Return the latest version before the active one that may serve."""
    earlier = [
        record
        for record in deployment.versions
        if record.number < active.number and record.state is VersionState.READY
    ]
    return max(earlier, key=lambda record: record.number, default=None)
