"""What people see of webhooks; sending one again, or no more, by hand. Called by the routes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.control.database import Database
from penstock.control.webhook_urls import read_url
from penstock.core.delivery_records import AttemptRecord, DeliveryRecord, DeliveryState
from penstock.core.errors import NotFound

#: Most deliveries in one answer.
LIST_LIMIT = 500


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries to list; None means any. `only` names deployments, what a key is granted."""

    state: DeliveryState | None = None
    deployment: str | None = None
    run_id: str | None = None
    only: tuple[str, ...] | None = None


class Deliveries:
    """The delivery log. Every method runs on the event loop.

    Args:
        database: Where deliveries are.
        wake: Tells the sender that something is due.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self, database: Database, wake: Callable[[], None], now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._store = database.records.webhooks
        self._wake = wake
        self._now = now

    async def list(
        self, project: str, wanted: DeliveryFilter, limit: int, before: str | None = None
    ) -> Sequence[DeliveryRecord]:
        """Return deliveries, newest first.

        Args:
            project: Whose.
            wanted: Which.
            limit: Most to return, 1 to `LIST_LIMIT`.
            before: Id of a delivery; only older ones are returned.

        Raises:
            NotFound: There is no delivery `before`.
        """
        mark = None
        if before is not None:
            last = await self._get(project, before)
            mark = (last.created_at, last.id)
        return await self._database.call(
            self._store.list,
            project,
            state=wanted.state,
            deployment=wanted.deployment,
            run_id=wanted.run_id,
            only=wanted.only,
            before=mark,
            limit=max(1, min(limit, LIST_LIMIT)),
        )

    async def get(
        self, project: str, delivery_id: str
    ) -> tuple[DeliveryRecord, Sequence[AttemptRecord]]:
        """Return a delivery and its latest attempts, oldest first. Raises `NotFound`."""
        found = await self._get(project, delivery_id)
        return found, await self._database.call(self._store.attempts, delivery_id)

    async def redeliver(self, project: str, delivery_id: str) -> DeliveryRecord:
        """Send a delivery again, now, under the same id and on a fresh schedule.

        Raises:
            NotFound: There is none by that id.
        """
        found = await self._database.call(self._store.redeliver, project, delivery_id, self._now())
        if found is None:
            raise _unknown(project, delivery_id)
        self._wake()
        return found

    async def call_off(self, project: str, delivery_id: str) -> DeliveryRecord:
        """Send a delivery no more, if it is still to be sent; return it as it now is.

        What is on its way just now may still arrive.

        Raises:
            NotFound: There is none by that id.
        """
        await self._database.call(self._store.call_off, project, delivery_id, None)
        return await self._get(project, delivery_id)

    async def call_off_receiver(self, project: str, url: str) -> int:
        """Send no more what waits for the receiver of `url`; return how many deliveries those were.

        Later runs may name the receiver again.

        Raises:
            InvalidWebhookUrl: `url` is not that of a receiver.
        """
        origin = read_url(url).origin
        return await self._database.call(self._store.call_off, project, None, origin)

    async def _get(self, project: str, delivery_id: str) -> DeliveryRecord:
        found = await self._database.call(self._store.get, project, delivery_id)
        if found is None:
            raise _unknown(project, delivery_id)
        return found


def _unknown(project: str, delivery_id: str) -> NotFound:
    return NotFound(
        f"There is no webhook delivery {delivery_id[:80]!r} in project {project!r}.",
        hint="Deliveries are forgotten together with their run.",
    )
