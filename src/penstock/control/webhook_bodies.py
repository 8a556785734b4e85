"""Makes the body of a delivery from its run. Called by `webhooks` before each attempt."""

from __future__ import annotations

from collections.abc import Callable

from penstock.control.database import Database
from penstock.control.run_payloads import RunPayloads
from penstock.control.run_view import run_json
from penstock.control.webhook_payload import DEFAULT_LIMIT, event_body
from penstock.core.delivery_records import DeliveryRecord
from penstock.core.errors import NotFound
from penstock.core.run_records import RunRecord
from penstock.core.states import RunState

#: What stands for a run that nobody waits for any more.
CANCELLED_STATUS = 499


class WebhookBodies:
    """Reads runs as their receivers get them.

    Args:
        database: Where runs are.
        payloads: Where their results are.
        status_of: The HTTP status of an error code; of an empty one 200.
        url: Address that clients reach the server by, without a trailing slash.
        limit: Largest body in bytes; a larger result is left to be fetched.
    """

    def __init__(
        self,
        database: Database,
        payloads: RunPayloads,
        status_of: Callable[[str], int],
        url: str,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self._database = database
        self._payloads = payloads
        self._status_of = status_of
        self._url = url
        self._limit = limit

    async def read(self, delivery: DeliveryRecord) -> bytes:
        """Return the body to send.

        Raises:
            NotFound: The run is forgotten.
            PenstockError: Its result cannot be read.
        """
        run = await self._database.call(self._database.records.runs.get, delivery.run_id)
        if run is None:
            raise NotFound(f"The run {delivery.run_id} is forgotten; there is nothing to tell.")
        result = None
        too_large = run.result is not None and run.result.size > self._limit
        if run.result is not None and not too_large:
            result = await self._payloads.read(run.result)
        return event_body(
            run_json(run, result),
            run.finished_at or delivery.created_at,
            self._status(run),
            f"{self._url}/v1/{run.project}/runs/{run.run_id}",
            self._limit,
            has_result=not too_large,
        )

    def _status(self, run: RunRecord) -> int:
        if run.state is RunState.CANCELLED:
            return CANCELLED_STATUS
        return self._status_of(str((run.error or {}).get("code", "")))
