"""Sealed secrets and the audit log in the records database. See `guard_base` for the promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.core.audit_records import UNFINISHED, AuditEntry
from penstock.core.secret_records import StoredSecret
from penstock.stores.guard_base import Reseal
from penstock.stores.record_queries import require_project
from penstock.stores.schema import audit, secrets

Transaction = Callable[[], AbstractContextManager[sa.Connection]]
Row = sa.Row[Any]


class SqlSecrets:
    """See `guard_base.SecretStore`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def put(self, secret: StoredSecret) -> bool:
        """Write a secret; True if it is new."""
        this = _this(secret.project, secret.name)
        changed = {
            "sealed": secret.sealed,
            "updated_at": secret.updated_at,
            "updated_by": secret.updated_by,
        }
        with self._transaction() as connection:
            require_project(connection, secret.project)
            if connection.execute(secrets.update().where(*this).values(**changed)).rowcount:
                return False
            connection.execute(secrets.insert().values(**asdict(secret)))
            return True

    def list(self, project: str) -> Sequence[StoredSecret]:
        """Return the secrets of a project by name."""
        query = sa.select(secrets).where(secrets.c.project == project).order_by(secrets.c.name)
        with self._transaction() as connection:
            return [_secret(row) for row in connection.execute(query)]

    def get(self, project: str, names: Iterable[str]) -> Sequence[StoredSecret]:
        """Return those of `names` that are there."""
        query = sa.select(secrets).where(
            secrets.c.project == project, secrets.c.name.in_(list(names))
        )
        with self._transaction() as connection:
            return [_secret(row) for row in connection.execute(query)]

    def delete(self, project: str, name: str) -> bool:
        """Forget a secret; False if there was none."""
        with self._transaction() as connection:
            done = connection.execute(secrets.delete().where(*_this(project, name)))
            return done.rowcount > 0

    def reseal(self, change: Reseal) -> int:
        """Replace the sealed value of every secret, all or none; return how many."""
        with self._transaction() as connection:
            found = connection.execute(sa.select(secrets)).all()
            for row in found:
                sealed = change(row.project, row.name, bytes(row.sealed))
                connection.execute(
                    secrets.update().where(*_this(row.project, row.name)).values(sealed=sealed)
                )
            return len(found)


class SqlAudit:
    """See `guard_base.AuditStore`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, entry: AuditEntry) -> int:
        """Add an entry; return its number."""
        values = {**asdict(entry), "details": json.dumps(entry.details)}
        del values["seq"]
        with self._transaction() as connection:
            key = connection.execute(audit.insert().values(**values)).inserted_primary_key
            return int(key[0]) if key is not None else 0

    def finish(self, seq: int, status: int, details: Mapping[str, str]) -> None:
        """Write down how an unfinished entry ended."""
        this = (audit.c.seq == seq, audit.c.status == UNFINISHED)
        with self._transaction() as connection:
            connection.execute(
                audit.update().where(*this).values(status=status, details=json.dumps(dict(details)))
            )

    def list(
        self, project: str | None, *, before: int | None = None, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Return entries of a project (None: all), newest first, with `seq` below `before`."""
        query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if project is not None:
            query = query.where(audit.c.project == project)
        if before is not None:
            query = query.where(audit.c.seq < before)
        with self._transaction() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def purge(self, older_than: float) -> int:
        """Forget entries from before a time; return how many."""
        with self._transaction() as connection:
            return connection.execute(audit.delete().where(audit.c.at < older_than)).rowcount


def _this(project: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (secrets.c.project == project, secrets.c.name == name)


def _secret(row: Row) -> StoredSecret:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return StoredSecret(**{**fields, "sealed": bytes(row.sealed)})


def _entry(row: Row) -> AuditEntry:
    fields = dict(row._mapping)  # noqa: SLF001
    return AuditEntry(**{**fields, "details": json.loads(row.details)})
