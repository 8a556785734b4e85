"""How much of the disk a project may take with model files and functions.

What counts are the distinct files of the project's versions, and those it uploaded in the last hour
for versions that are not made yet. Called by `blobs` and `deploys`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.codec.bundle import Manifest, read_manifest
from penstock.control.database import Database
from penstock.core.errors import StorageFull

#: Seconds an upload counts although no version uses it: as long as it is kept.
UPLOAD_S = 3600.0


class Storage:
    """The quota of every project. Public methods run on the event loop.

    Attributes:
        limit_bytes: Most bytes of one project; 0 for no limit.

    Args:
        database: Where the manifests are.
        limit_bytes: Most bytes of one project; 0 for no limit.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self, database: Database, limit_bytes: int, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self.limit_bytes = self._limit = limit_bytes
        self._now = now
        self._uploads: dict[str, dict[str, tuple[int, float]]] = {}

    async def room(self, project: str, sha256: str) -> int | None:
        """Return how many bytes the file `sha256` may have; None for as many as it likes."""
        if not self._limit:
            return None
        used = await self._used(project)
        used.pop(sha256, None)
        return max(0, self._limit - sum(used.values()))

    def uploaded(self, project: str, sha256: str, size: int) -> None:
        """Count a file that the project has just uploaded."""
        if self._limit:
            self._uploads.setdefault(project, {})[sha256] = (size, self._now())

    async def check_bundle(self, project: str, manifest: Manifest) -> None:
        """Raise `StorageFull` if the project has no room for the files of a version."""
        if not self._limit:
            return
        used = await self._used(project)
        used.update((name, blob.size) for name, blob in manifest.blobs().items())
        total = sum(used.values())
        if total > self._limit:
            raise storage_full(project, self._limit, total)

    async def _used(self, project: str) -> dict[str, int]:
        """Return the bytes of each file that counts, by SHA-256."""
        recent = self._uploads.get(project, {})
        old = self._now() - UPLOAD_S
        for name in [name for name, (_, at) in recent.items() if at < old]:
            del recent[name]
        used = {name: size for name, (size, _) in recent.items()}
        used.update(await self._database.call(self._of_versions, project))
        return used

    def _of_versions(self, project: str) -> dict[str, int]:
        manifests = self._database.records.project_manifests(project)
        return {
            name: blob.size
            for raw in manifests
            for name, blob in read_manifest(raw).blobs().items()
        }


def storage_full(project: str, limit: int, wanted: int | None = None) -> StorageFull:
    """Return the error for a project whose files would take more than `limit` bytes."""
    taken = f"would take {wanted} bytes" if wanted is not None else "take all they may"
    return StorageFull(
        f"The model files and functions of project {project!r} {taken}; the limit is {limit}.",
        hint="Delete versions or deployments that are not needed, or raise the server's setting "
        "project_storage_bytes.",
        limit_bytes=limit,
    )
