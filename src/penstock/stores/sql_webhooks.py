"""`WebhookStore` on any SQL database through SQLAlchemy Core; made by the record store.

See `penstock.stores.webhooks_base` for what each method promises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace

import sqlalchemy as sa

from penstock.core.delivery_records import (
    AttemptRecord,
    DeliveryRecord,
    DeliveryState,
    SecretRecord,
    Settlement,
)
from penstock.stores.record_queries import require_project
from penstock.stores.record_rows import Row
from penstock.stores.schema import webhook_attempts, webhook_deliveries, webhook_secrets

_ATTEMPTS_SHOWN = 50

_PENDING = DeliveryState.PENDING.value
_all = webhook_deliveries.c


class SqlWebhooks:
    """Deliveries, attempts and secrets, in the records' database.

    Args:
        transaction: Begins a transaction of the records.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._transaction = transaction

    # --- deliveries ---

    def due(
        self, now: float, limit: int, skip: Collection[str], skip_origins: Collection[str]
    ) -> Sequence[DeliveryRecord]:
        """Return pending deliveries whose time has come, the longest due first."""
        query = (
            sa.select(webhook_deliveries)
            .where(_all.state == _PENDING, _all.next_attempt_at <= now)
            .order_by(_all.next_attempt_at)
            .limit(limit)
        )
        if skip:
            query = query.where(_all.id.not_in(sorted(skip)))
        for origin in skip_origins:
            query = query.where(~_all.url.startswith(f"{origin}/", autoescape=True))
        with self._transaction() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def next_due(self, now: float) -> float | None:
        """Return the earliest time after `now` at which a delivery is due, or None."""
        query = sa.select(sa.func.min(_all.next_attempt_at)).where(
            _all.state == _PENDING, _all.next_attempt_at > now
        )
        with self._transaction() as connection:
            found: float | None = connection.execute(query).scalar()
            return found

    def settle(self, settlement: Settlement) -> bool:
        """Record an attempt and what it makes of its delivery, unless that changed meanwhile."""
        made, state = settlement.made, settlement.state
        change = (
            webhook_deliveries.update()
            .where(
                _all.id == settlement.id,
                _all.attempt == settlement.attempt,
                _all.state == _PENDING,
            )
            .values(
                state=state.value,
                attempt=settlement.attempt + 1,
                next_attempt_at=settlement.next_attempt_at,
                delivered_at=made.at if state is DeliveryState.DELIVERED else None,
                last_status=made.status,
                last_error=settlement.error,
            )
        )
        with self._transaction() as connection:
            if connection.execute(change).rowcount == 0:
                return False
            connection.execute(
                webhook_attempts.insert().values(delivery_id=settlement.id, **asdict(made))
            )
            return True

    def get(self, project: str, delivery_id: str) -> DeliveryRecord | None:
        """Return a delivery, or None."""
        with self._transaction() as connection:
            return _find(connection, project, delivery_id)

    def attempts(self, delivery_id: str) -> Sequence[AttemptRecord]:
        """Return the latest attempts of a delivery, oldest first."""
        columns = webhook_attempts.c
        query = (
            sa.select(columns.at, columns.status, columns.error, columns.took_ms)
            .where(columns.delivery_id == delivery_id)
            .order_by(columns.seq.desc())
            .limit(_ATTEMPTS_SHOWN)
        )
        with self._transaction() as connection:
            found = connection.execute(query).all()
        return [AttemptRecord(*row) for row in reversed(found)]

    def list(
        self,
        project: str,
        *,
        state: DeliveryState | None = None,
        deployment: str | None = None,
        run_id: str | None = None,
        only: Collection[str] | None = None,
        before: tuple[float, str] | None = None,
        limit: int,
    ) -> Sequence[DeliveryRecord]:
        """Return deliveries, newest first, older than `before`."""
        wanted = {"state": state and state.value, "deployment": deployment, "run_id": run_id}
        query = sa.select(webhook_deliveries).where(_all.project == project)
        for column, value in wanted.items():
            if value is not None:
                query = query.where(_all[column] == value)
        if only is not None:
            query = query.where(_all.deployment.in_(only))
        if before is not None:
            query = query.where(sa.tuple_(_all.created_at, _all.id) < sa.tuple_(*before))
        query = query.order_by(_all.created_at.desc(), _all.id.desc()).limit(limit)
        with self._transaction() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def redeliver(self, project: str, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Make a delivery pending and due at once, with its attempts counted anew; or None."""
        with self._transaction() as connection:
            found = _find(connection, project, delivery_id)
            if found is None:
                return None
            changed = replace(
                found,
                state=DeliveryState.PENDING,
                attempt=0,
                next_attempt_at=now,
                delivered_at=None,
            )
            connection.execute(
                webhook_deliveries.update()
                .where(_all.id == delivery_id)
                .values(state=_PENDING, attempt=0, next_attempt_at=now, delivered_at=None)
            )
            return changed

    def call_off(self, project: str, delivery_id: str | None, origin: str | None) -> int:
        """Make pending deliveries `cancelled`: one by its id, or all to a receiver; the number."""
        assert (delivery_id is None) != (origin is None)
        change = webhook_deliveries.update().where(_all.project == project, _all.state == _PENDING)
        if delivery_id is not None:
            change = change.where(_all.id == delivery_id)
        else:
            change = change.where(_all.url.startswith(f"{origin}/", autoescape=True))
        cancelled = DeliveryState.CANCELLED.value
        with self._transaction() as connection:
            return connection.execute(change.values(state=cancelled, next_attempt_at=None)).rowcount

    # --- secrets ---

    def secrets(self, project: str, now: float) -> Sequence[SecretRecord]:
        """Return the secrets that sign at `now`, the present one first."""
        columns = webhook_secrets.c
        query = (
            sa.select(webhook_secrets)
            .where(
                columns.project == project,
                sa.or_(columns.retired_at.is_(None), columns.retired_at > now),
            )
            .order_by(columns.seq.desc())
        )
        with self._transaction() as connection:
            return [_secret(row) for row in connection.execute(query)]

    def replace_secret(
        self, project: str, secret: str, now: float, retire_at: float, *, shown: bool
    ) -> SecretRecord:
        """Make `secret` the present one; those before it sign until `retire_at`."""
        columns = webhook_secrets.c
        here = columns.project == project
        values = {
            "project": project,
            "secret": secret,
            "created_at": now,
            "shown_at": now if shown else None,
            "retired_at": None,
        }
        with self._transaction() as connection:
            require_project(connection, project)
            connection.execute(
                webhook_secrets.update()
                .where(here, columns.retired_at.is_(None))
                .values(retired_at=retire_at)
            )
            connection.execute(webhook_secrets.delete().where(here, columns.retired_at <= now))
            connection.execute(webhook_secrets.insert().values(**values))
            newest = sa.select(webhook_secrets).where(here).order_by(columns.seq.desc())
            return _secret(connection.execute(newest.limit(1)).one())

    def mark_shown(self, seq: int, now: float) -> bool:
        """Note that a secret's text is handed out; False if it was before."""
        columns = webhook_secrets.c
        change = (
            webhook_secrets.update()
            .where(columns.seq == seq, columns.shown_at.is_(None))
            .values(shown_at=now)
        )
        with self._transaction() as connection:
            return connection.execute(change).rowcount > 0

    def reseal_secrets(self, change: Callable[[str, str], str]) -> int:
        """Replace the text of every secret by `change(project, text)`; return how many changed."""
        columns = webhook_secrets.c
        changed = 0
        with self._transaction() as connection:
            for row in connection.execute(sa.select(webhook_secrets)).all():
                text = change(row.project, row.secret)
                if text != row.secret:
                    this = webhook_secrets.update().where(columns.seq == row.seq)
                    connection.execute(this.values(secret=text))
                    changed += 1
        return changed


def _find(connection: sa.Connection, project: str, delivery_id: str) -> DeliveryRecord | None:
    query = sa.select(webhook_deliveries).where(_all.id == delivery_id, _all.project == project)
    row = connection.execute(query).first()
    return None if row is None else _delivery(row)


def _delivery(row: Row) -> DeliveryRecord:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return DeliveryRecord(**{**fields, "state": DeliveryState(row.state)})


def _secret(row: Row) -> SecretRecord:
    return SecretRecord(**row._mapping)  # noqa: SLF001
