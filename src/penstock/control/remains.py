"""What a deleted deployment leaves outside the records: its memory, build logs and figures.

`Deployments` has it cleared with the deployment. Where that failed, or the server was killed on the
way, `Deploys` has it cleared before the name is used again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from penstock.control.builds import Builds
from penstock.control.database import Database

log = logging.getLogger("penstock.versions")


class Remains:
    """Clears what deleted deployments left. Every method runs on the event loop.

    The caller holds the deployment's lock.

    Args:
        database: Where it says which are deleted, and what their functions saved.
        builds: The logs of deploys.

    Attributes:
        on_delete: Called with a project, a deployment that was deleted and its latest version,
            before its name can be used again; perhaps once more if it failed.
    """

    def __init__(self, database: Database, builds: Builds) -> None:
        self._database = database
        self._builds = builds
        self.on_delete: list[Callable[[str, str, int], Awaitable[None]]] = []

    async def clear(self, project: str, name: str, last: int) -> None:
        """Clear all of it that can be cleared; `last` is the deployment's latest version.

        Raises:
            StoreError: Some of it cannot be cleared now; the first reason, if there are several.
        """
        steps = self._steps(project, name, last)
        errors = [error for step in steps if (error := await _attempt(step)) is not None]
        if errors:
            raise errors[0]

    def _steps(self, project: str, name: str, last: int) -> list[Callable[[], Awaitable[None]]]:
        clear = self._database.memory.clear
        return [
            partial(self._database.call_memory, clear, (project, name)),
            partial(self._builds.forget, project, name),
            *(partial(tell, project, name, last) for tell in self.on_delete),
        ]

    async def clear_before_first(self, project: str, name: str) -> None:
        """Clear it if the name's deployment is deleted, so that the next one inherits nothing.

        Raises:
            StoreError: Some of it cannot be cleared now.
        """
        records = self._database.records
        last = await self._database.call(records.last_deleted, project, name)
        if last:
            await self.clear(project, name, last)


async def _attempt(step: Callable[[], Awaitable[None]]) -> Exception | None:
    """Take a step; return why it failed, if it did."""
    try:
        await step()
    except Exception as error:
        log.exception("Not all that a deleted deployment left could be cleared.")
        return error
    return None
