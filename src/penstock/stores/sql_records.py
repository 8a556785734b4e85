"""`RecordStore` on any SQL database through SQLAlchemy Core; used from one thread only.

The statements are plain Core over `schema`, the same for every database. `sqlite_records` and
`postgres_records` open it; what is particular to them is in `sqlite_engine` and `postgres_engine`.
Rows become records in `record_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from penstock.core.errors import Conflict, StoreError
from penstock.core.faults import fault
from penstock.core.records import (
    DeploymentRecord,
    KeyRecord,
    ProjectRecord,
    Scaling,
    VersionRecord,
    VersionSettings,
)
from penstock.core.states import VersionState, check_version_move
from penstock.stores import record_queries as queries
from penstock.stores import record_rows as rows
from penstock.stores.guard_base import AuditStore, SecretStore
from penstock.stores.migrate import upgrade
from penstock.stores.runs_base import RunStore
from penstock.stores.schema import api_keys, deployments, projects, versions
from penstock.stores.sql_guard import SqlAudit, SqlSecrets
from penstock.stores.sql_runs import SqlRuns
from penstock.stores.sql_uploads import SqlUploads
from penstock.stores.sql_webhooks import SqlWebhooks
from penstock.stores.webhooks_base import UploadStore, WebhookStore


class SqlRecords:
    """Records in a SQL database. See `RecordStore` for what each method promises.

    The database is brought to the present schema if need be.

    Args:
        engine: Has one connection; a transaction is durable once its block ends.
        where: What the database is called in messages.
        failure: Makes the error of what the driver or the disk raised.

    Raises:
        StoreError: The database cannot be opened, is damaged, is in use by another server, or was
            written by a newer Penstock.
    """

    def __init__(
        self, engine: sa.Engine, where: str, failure: Callable[[Exception], StoreError]
    ) -> None:
        self._engine = engine
        self._failure = failure
        #: The asynchronous runs, in the same database.
        self.runs: RunStore = SqlRuns(self.transaction)
        self.webhooks: WebhookStore = SqlWebhooks(self.transaction)
        self.uploads: UploadStore = SqlUploads(self.transaction)
        self.secrets: SecretStore = SqlSecrets(self.transaction)
        self.audit: AuditStore = SqlAudit(self.transaction)
        try:
            with self.transaction() as connection:
                upgrade(connection, where)
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Begin a transaction, for other modules of the stores; it ends with the block."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Conflict(f"The record does not fit the others: {error.orig}.") from error
        except (SQLAlchemyError, OSError) as error:
            raise self._failure(error) from error

    def add_project(self, project: ProjectRecord) -> None:
        """Add a project. Raises `Conflict` if the name is taken."""
        with self.transaction() as connection:
            if queries.find_project(connection, project.name) is not None:
                raise Conflict(f"There is already a project {project.name!r}.")
            connection.execute(
                projects.insert().values(name=project.name, created_at=project.created_at)
            )

    def get_project(self, name: str) -> ProjectRecord | None:
        """Return a project, or None."""
        with self.transaction() as connection:
            return queries.find_project(connection, name)

    def list_projects(self) -> list[ProjectRecord]:
        """Return every project by name."""
        with self.transaction() as connection:
            found = connection.execute(sa.select(projects).order_by(projects.c.name))
            return [rows.project(row) for row in found]

    def add_key(self, key: KeyRecord) -> None:
        """Add a key. Raises `Conflict` if its id or digest is taken, `NotFound` as to project."""
        same = sa.or_(api_keys.c.key_id == key.key_id, api_keys.c.digest == key.digest)
        with self.transaction() as connection:
            if key.project is not None:
                queries.require_project(connection, key.project)
            if connection.execute(sa.select(api_keys.c.key_id).where(same)).first() is not None:
                raise Conflict(f"There is already a key {key.key_id!r}, or one of this value.")
            connection.execute(api_keys.insert().values(**rows.key_values(key)))

    def list_keys(self, project: str | None = None) -> list[KeyRecord]:
        """Return the keys of `project`, or all keys, oldest first, revoked ones too."""
        query = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        if project is not None:
            query = query.where(api_keys.c.project == project)
        with self.transaction() as connection:
            return [rows.key(row) for row in connection.execute(query)]

    def revoke_key(self, key_id: str, at: float) -> KeyRecord | None:
        """Mark a key as revoked and return it; None if there is no such key."""
        this = api_keys.c.key_id == key_id
        with self.transaction() as connection:
            connection.execute(
                api_keys.update().where(this, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            row = connection.execute(sa.select(api_keys).where(this)).first()
            return None if row is None else rows.key(row)

    def mark_keys_used(self, key_ids: Sequence[str], at: float) -> None:
        """Note when keys were last used; unknown ones are passed over."""
        with self.transaction() as connection:
            connection.execute(
                api_keys.update().where(api_keys.c.key_id.in_(key_ids)).values(last_used_at=at)
            )

    def delete_key(self, key_id: str) -> bool:
        """Forget a key, so that its digest may be used again. False if there was none."""
        with self.transaction() as connection:
            done = connection.execute(api_keys.delete().where(api_keys.c.key_id == key_id))
            return done.rowcount > 0

    def add_version(
        self,
        *,
        project: str,
        deployment: str,
        manifest: bytes,
        settings: VersionSettings,
        size_bytes: int,
        created_at: float,
        created_by: str,
    ) -> VersionRecord:
        """Add the next version (`deploying`), creating the deployment if need be.

        Raises `NotFound` if the project does not exist.
        """
        with self.transaction() as connection:
            queries.require_project(connection, project)
            record = VersionRecord(
                project=project,
                deployment=deployment,
                number=queries.take_number(connection, project, deployment, created_at),
                state=VersionState.DEPLOYING,
                manifest=manifest,
                settings=settings,
                size_bytes=size_bytes,
                created_at=created_at,
                created_by=created_by,
            )
            connection.execute(versions.insert().values(**rows.version_values(record)))
            fault("records.adding")
            return record

    def set_version_state(
        self,
        project: str,
        deployment: str,
        number: int,
        state: VersionState,
        *,
        at: float,
        failure: dict[str, Any] | None = None,
    ) -> VersionRecord:
        """Move a version to `state`; see `RecordStore` for what it raises."""
        with self.transaction() as connection:
            active = queries.require_deployment(connection, project, deployment).active
            old = queries.require_version(connection, project, deployment, number)
            check_version_move(old.state, state)
            if state is VersionState.DELETED and active == number:
                raise Conflict(
                    f"Version {number} of {project}/{deployment} is the active one.",
                    hint="Activate another version first, or delete the whole deployment.",
                )
            changed = rows.moved(old, state, at, failure)
            connection.execute(
                versions.update()
                .where(*queries.this_version(project, deployment, number))
                .values(**rows.state_values(changed))
            )
            fault("records.moving")
            return changed

    def set_version_settings(
        self, project: str, deployment: str, number: int, settings: VersionSettings
    ) -> VersionRecord:
        """Replace how a version is served and return it. Raises `NotFound` if absent."""
        with self.transaction() as connection:
            old = queries.require_version(connection, project, deployment, number)
            changed = replace(old, settings=settings)
            connection.execute(
                versions.update()
                .where(*queries.this_version(project, deployment, number))
                .values(settings=rows.settings_text(settings))
            )
            return changed

    def activate(self, project: str, deployment: str, number: int | None, at: float) -> None:
        """Make a `ready` version the active one (None: no version is active)."""
        with self.transaction() as connection:
            queries.require_deployment(connection, project, deployment)
            if number is not None:
                version = queries.require_version(connection, project, deployment, number)
                if version.state is not VersionState.READY:
                    raise Conflict(
                        f"Version {number} of {project}/{deployment} is {version.state.value}, "
                        "not ready, and cannot become the active one."
                    )
            connection.execute(
                deployments.update()
                .where(*queries.this_deployment(project, deployment))
                .values(active=number, updated_at=at)
            )
            fault("records.activating")

    def set_scaling(self, project: str, name: str, scaling: Scaling, at: float) -> None:
        """Set how many replicas a deployment may have. Raises `NotFound` if it is absent."""
        with self.transaction() as connection:
            queries.require_deployment(connection, project, name)
            connection.execute(
                deployments.update()
                .where(*queries.this_deployment(project, name))
                .values(**asdict(scaling), updated_at=at)
            )

    def get_deployment(self, project: str, name: str) -> DeploymentRecord | None:
        """Return a deployment with its versions (oldest first, deleted ones too), or None."""
        found = self._deployments(
            (deployments.c.project == project) & (deployments.c.name == name),
            (versions.c.project == project) & (versions.c.deployment == name),
        )
        return found[0] if found else None

    def list_deployments(self, project: str | None = None) -> list[DeploymentRecord]:
        """Return the deployments of `project`, or all, by name, with their versions."""
        if project is None:
            return self._deployments(sa.true(), sa.true())
        return self._deployments(deployments.c.project == project, versions.c.project == project)

    def _deployments(
        self, which: sa.ColumnElement[bool], which_versions: sa.ColumnElement[bool]
    ) -> list[DeploymentRecord]:
        query = sa.select(deployments).where(which, deployments.c.deleted_at.is_(None))
        version_query = sa.select(versions).where(which_versions)
        with self.transaction() as connection:
            return rows.join_deployments(
                connection.execute(query.order_by(deployments.c.project, deployments.c.name)),
                connection.execute(version_query.order_by(versions.c.number)),
            )

    def delete_deployment(self, project: str, name: str) -> bool:
        """Forget a deployment and its versions. False if there was none."""
        here = (versions.c.project == project, versions.c.deployment == name)
        with self.transaction() as connection:
            if queries.find_deployment(connection, project, name) is None:
                return False
            connection.execute(versions.delete().where(*here))
            connection.execute(
                deployments.update()
                .where(*queries.this_deployment(project, name))
                .values(active=None, deleted_at=deployments.c.updated_at, **asdict(Scaling()))
            )
            return True

    def last_deleted(self, project: str, name: str) -> int:
        """Return the last version number of a deleted deployment; 0 if it is there or never was."""
        with self.transaction() as connection:
            return queries.last_deleted(connection, project, name)

    def project_manifests(self, project: str) -> list[bytes]:
        """Return the manifest of every version of a project that is not deleted."""
        return self._manifests(versions.c.project == project)

    def manifests(self) -> list[bytes]:
        """Return the manifest of every version that is not deleted (for collecting blobs)."""
        return self._manifests(sa.true())

    def _manifests(self, which: sa.ColumnElement[bool]) -> list[bytes]:
        live = versions.c.state != VersionState.DELETED.value
        with self.transaction() as connection:
            found = connection.execute(sa.select(versions.c.manifest).where(which, live))
            return [bytes(row.manifest) for row in found]

    def close(self) -> None:
        """Close the store."""
        self._engine.dispose()
