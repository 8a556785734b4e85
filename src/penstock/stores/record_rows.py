"""Rows of the records database to records, and back; called by the record stores only.

Pure functions: the same for every SQL database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from penstock.core.loggers import LoggerSpec
from penstock.core.records import (
    DeploymentRecord,
    KeyRecord,
    ProjectRecord,
    Scaling,
    Scope,
    VersionRecord,
    VersionSettings,
)
from penstock.core.states import VersionState

Row = sa.Row[Any]


def project(row: Row) -> ProjectRecord:
    """Return the project in a row of `projects`."""
    return ProjectRecord(name=row.name, created_at=row.created_at)


def key(row: Row) -> KeyRecord:
    """Return the key in a row of `api_keys`."""
    return KeyRecord(
        key_id=row.key_id,
        digest=bytes(row.digest),
        prefix=row.prefix,
        scope=Scope(row.scope),
        project=row.project,
        label=row.label,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        deployments=None if row.deployments is None else tuple(json.loads(row.deployments)),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        created_by=row.created_by,
        rate_per_s=row.rate_per_s,
    )


def key_values(record: KeyRecord) -> dict[str, Any]:
    """Return the columns of a key."""
    granted = None if record.deployments is None else json.dumps(record.deployments)
    return {**asdict(record), "scope": record.scope.value, "deployments": granted}


def version(row: Row) -> VersionRecord:
    """Return the version in a row of `versions`."""
    return VersionRecord(
        project=row.project,
        deployment=row.deployment,
        number=row.number,
        state=VersionState(row.state),
        manifest=bytes(row.manifest),
        settings=_settings(row.settings),
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        created_by=row.created_by,
        ready_at=row.ready_at,
        failure=None if row.failure is None else json.loads(row.failure),
    )


def _settings(text: str) -> VersionSettings:
    fields = json.loads(text)
    loggers = [
        LoggerSpec(**{**spec, **{name: tuple(spec[name]) for name in ("features", "targets")}})
        for spec in fields.get("loggers", ())
    ]
    secrets = tuple(fields.get("secrets", ()))
    return VersionSettings(**{**fields, "loggers": tuple(loggers), "secrets": secrets})


def version_values(record: VersionRecord) -> dict[str, Any]:
    """Return the columns of a version."""
    return {
        **asdict(record),
        **state_values(record),
        "settings": settings_text(record.settings),
    }


def settings_text(settings: VersionSettings) -> str:
    """Return how a version is served, as it is kept."""
    return json.dumps(asdict(settings))


def state_values(record: VersionRecord) -> dict[str, Any]:
    """Return the columns of a version that change with its state."""
    # A failure may carry facts of any type; what has no JSON form is kept as its text.
    failure = None if record.failure is None else json.dumps(record.failure, default=str)
    return {"state": record.state.value, "ready_at": record.ready_at, "failure": failure}


def moved(
    old: VersionRecord, state: VersionState, at: float, failure: dict[str, Any] | None
) -> VersionRecord:
    """Return `old` as it is after its move to `state` at the time `at`."""
    ready_at = at if state is VersionState.READY else old.ready_at
    return replace(old, state=state, ready_at=ready_at, failure=failure or old.failure)


def join_deployments(
    deployment_rows: Iterable[Row], version_rows: Iterable[Row]
) -> list[DeploymentRecord]:
    """Return the deployments, in the order given, each with its versions in the order given."""
    grouped: dict[tuple[str, str], list[VersionRecord]] = {}
    for row in version_rows:
        grouped.setdefault((row.project, row.deployment), []).append(version(row))
    return [
        DeploymentRecord(
            project=row.project,
            name=row.name,
            active=row.active,
            created_at=row.created_at,
            updated_at=row.updated_at,
            versions=tuple(grouped.get((row.project, row.name), ())),
            scaling=Scaling(row.min_replicas, row.max_replicas, row.cooldown_s),
        )
        for row in deployment_rows
    ]
