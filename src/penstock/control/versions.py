"""Versions that exist: showing, activating (rolling back), waking and deleting them.

Called by `penstock.server.routes.versions` and by the predict route for versions by number.
"""

from __future__ import annotations

import asyncio

from penstock.codec.bundle import read_manifest
from penstock.control.database import Database
from penstock.control.pools import key_of
from penstock.control.serving import Serving
from penstock.control.status import VersionView, version_view
from penstock.core.errors import Conflict, NotFound
from penstock.core.records import DeploymentRecord, VersionRecord
from penstock.core.states import VersionState
from penstock.stores.base import BlobStore


class Versions:
    """Versions of deployments. Every method runs on the event loop.

    Args:
        database: Where versions are remembered.
        serving: Routes, pools and locks.
        blobs: Where the bundles' files are.
    """

    def __init__(self, database: Database, serving: Serving, blobs: BlobStore) -> None:
        self._database = database
        self._serving = serving
        self._blobs = blobs

    async def get(
        self, project: str, name: str, number: int, *, with_traceback: bool = False
    ) -> VersionView:
        """Return a version, maybe with the traceback of its failure. Raises `NotFound`."""
        deployment, record = await self._find(project, name, number)
        return version_view(record, deployment.active, with_traceback=with_traceback)

    async def example(self, project: str, name: str, number: int) -> tuple[str, bytes] | None:
        """Return media type and bytes of a version's example, or None. Raises `NotFound`."""
        _deployment, record = await self._find(project, name, number)
        example = read_manifest(record.manifest).example
        if example is None:
            return None
        body = await asyncio.to_thread(self._blobs.read, example.body.sha256)
        return example.media_type, body

    async def activate(self, project: str, name: str, number: int) -> VersionView:
        """Make a ready version the active one: roll back, or forward.

        It is started first if it does not run; the version before it serves until then.

        Raises:
            NotFound: There is no such version.
            Conflict: It never became ready.
            LoadFailed: It does not load any more; the version before it keeps serving.
        """
        async with self._serving.lock(project, name):
            _deployment, record = await self._find(project, name, number)
            record = await self._forgive(_require_ready(record))
            pool = await self._serving.pools.start(record)
            await self._serving.activate(record, pool)
            return version_view(record, number)

    async def _forgive(self, record: VersionRecord) -> VersionRecord:
        """Make a withdrawn version ready again: somebody wants it, whatever happened."""
        if record.state is not VersionState.WITHDRAWN:
            return record
        return await self._database.call(
            self._database.records.set_version_state,
            record.project,
            record.deployment,
            record.number,
            VersionState.READY,
            at=self._serving.now(),
        )

    async def wake(self, project: str, name: str, number: int) -> None:
        """Let `/versions/<n>/predict` be answered: start the version for a while.

        Raises:
            NotFound: There is no such version.
            Conflict: It never became ready.
            LoadFailed: It does not load any more.
        """
        _deployment, record = await self._find(project, name, number)
        _require_ready(record)
        pool = await self._serving.pools.start(record, when_idle=self._serving.withdraw_version)
        self._serving.serve_version(record, pool)

    async def delete(self, project: str, name: str, number: int) -> None:
        """Give up a version that does not serve.

        Raises:
            NotFound: There is no such version.
            Conflict: It is the active version, or being deployed.
        """
        async with self._serving.lock(project, name):
            deployment, record = await self._find(project, name, number)
            if deployment.active == number:
                raise Conflict(
                    f"Version {number} of {name} is the active one.",
                    hint="Activate another version first, or delete the deployment.",
                )
            await self._database.call(
                self._database.records.set_version_state,
                project,
                name,
                number,
                VersionState.DELETED,
                at=self._serving.now(),
            )
            self._serving.withdraw_version(key_of(record))

    async def _find(
        self, project: str, name: str, number: int
    ) -> tuple[DeploymentRecord, VersionRecord]:
        database = self._database
        deployment = await database.call(database.records.get_deployment, project, name)
        if deployment is not None:
            for record in deployment.versions:
                if record.number == number and record.state is not VersionState.DELETED:
                    return deployment, record
        raise NotFound(f"There is no version {number} of {project}/{name}.")


def _require_ready(record: VersionRecord) -> VersionRecord:
    if record.state in {VersionState.READY, VersionState.WITHDRAWN}:
        return record
    reason = (record.failure or {}).get("message", "it is still being deployed")
    raise Conflict(
        f"Version {record.number} of {record.deployment} is {record.state.value}: {reason}",
        hint="Deploy again.",
    )
