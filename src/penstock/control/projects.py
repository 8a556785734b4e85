"""Projects: make, find and list them. Called by the project routes, by keys and by wiring."""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.control.database import Database
from penstock.core.errors import Conflict, NotFound
from penstock.core.names import check_project_name
from penstock.core.records import ProjectRecord


class Projects:
    """The projects of the server.

    Args:
        database: Where records are kept.
        now: Clock, seconds since the epoch.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def add(self, name: str) -> ProjectRecord:
        """Make a project.

        Raises:
            InvalidName: The name is not legal.
            Conflict: The name is taken.
        """
        project = ProjectRecord(check_project_name(name), self._now())
        await self._database.call(self._database.records.add_project, project)
        return project

    async def get(self, name: str) -> ProjectRecord:
        """Return a project.

        Raises:
            NotFound: There is none by that name.
        """
        project = await self._database.call(self._database.records.get_project, name)
        if project is None:
            raise NotFound(
                f"There is no project {name!r}.", hint="An admin key may make one at /v1/projects."
            )
        return project

    async def ensure(self, name: str) -> ProjectRecord:
        """Return a project, made now if it is not there. Raises `InvalidName`."""
        try:
            return await self.add(name)
        except Conflict:
            return await self.get(name)

    async def list(self) -> list[ProjectRecord]:
        """Return every project by name."""
        return await self._database.call(self._database.records.list_projects)
