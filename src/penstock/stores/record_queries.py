"""Statements the record stores share: find, require, and take the next version number.

Each runs inside the caller's transaction on the caller's connection, on any SQL database.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.core.errors import NotFound
from penstock.core.records import ProjectRecord, VersionRecord
from penstock.stores import record_rows as rows
from penstock.stores.schema import deployments, projects, versions


def this_deployment(project: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions that pick one row of `deployments`."""
    return (deployments.c.project == project, deployments.c.name == name)


def this_version(project: str, name: str, number: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions that pick one row of `versions`."""
    return (
        versions.c.project == project,
        versions.c.deployment == name,
        versions.c.number == number,
    )


def find_project(connection: sa.Connection, name: str) -> ProjectRecord | None:
    """Return a project, or None."""
    row = connection.execute(sa.select(projects).where(projects.c.name == name)).first()
    return None if row is None else rows.project(row)


def require_project(connection: sa.Connection, name: str) -> None:
    """Raise `NotFound` unless the project is there."""
    if find_project(connection, name) is None:
        raise NotFound(f"There is no project {name!r}.")


def find_deployment(connection: sa.Connection, project: str, name: str) -> sa.Row[Any] | None:
    """Return the deployment's row, locked where the database locks rows; None if deleted."""
    query = sa.select(deployments).where(
        *this_deployment(project, name), deployments.c.deleted_at.is_(None)
    )
    return connection.execute(query.with_for_update()).first()


def last_deleted(connection: sa.Connection, project: str, name: str) -> int:
    """Return the last version number of a deleted deployment; 0 if it is there or never was."""
    query = sa.select(deployments.c.next_number).where(
        *this_deployment(project, name), deployments.c.deleted_at.is_not(None)
    )
    return int(connection.execute(query).scalar() or 1) - 1


def require_deployment(connection: sa.Connection, project: str, name: str) -> sa.Row[Any]:
    """Return the deployment's row, or raise `NotFound`."""
    row = find_deployment(connection, project, name)
    if row is None:
        raise NotFound(f"There is no deployment {project}/{name}.")
    return row


def require_version(
    connection: sa.Connection, project: str, name: str, number: int
) -> VersionRecord:
    """Return the version, or raise `NotFound`."""
    query = sa.select(versions).where(*this_version(project, name, number))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no version {number} of {project}/{name}.")
    return rows.version(row)


def take_number(connection: sa.Connection, project: str, name: str, at: float) -> int:
    """Return the next version number, creating or reviving the deployment's row."""
    this = this_deployment(project, name)
    row = connection.execute(sa.select(deployments).where(*this).with_for_update()).first()
    if row is None:
        new = deployments.insert().values(
            project=project, name=name, next_number=2, created_at=at, updated_at=at
        )
        connection.execute(new)
        return 1
    number = int(row.next_number)
    born = row.created_at if row.deleted_at is None else at
    connection.execute(
        deployments.update()
        .where(*this)
        .values(next_number=number + 1, created_at=born, updated_at=at, deleted_at=None)
    )
    return number
