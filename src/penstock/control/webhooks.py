"""Tells webhooks of the ends of runs, until they take it or the schedule is over.

The store has a delivery for every run that ended and named a URL. `Webhooks` sends those that are
due: many at once, few to one receiver, one to a receiver that failed last, so that a dead receiver
costs the others nothing. An attempt is recorded after its answer came; a crash in between repeats
it under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.control.database import Database
from penstock.control.outgoing import Outcome, Outgoing
from penstock.control.webhook_schedule import Schedule
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.control.webhook_signing import signed_headers
from penstock.control.webhook_urls import read_url
from penstock.core.delivery_records import (
    AttemptRecord,
    DeliveryRecord,
    DeliveryState,
    Settlement,
)
from penstock.core.errors import InvalidWebhookUrl, NotFound, PenstockError
from penstock.core.faults import fault

log = logging.getLogger("penstock.webhooks")

#: Seconds before a store that failed is asked again.
STORE_RETRY_S = 1.0

#: Longest sleep: a clock that is set back must not make a delivery wait for ever.
_LONGEST_SLEEP_S = 60.0

#: Receivers that are remembered as failing.
_FAILING = 10_000

#: Returns the body to send for a delivery. Raises `NotFound` if its run is gone.
ReadBody = Callable[[DeliveryRecord], Awaitable[bytes]]


@dataclass(frozen=True)
class SendOptions:
    """How webhooks are sent.

    Attributes:
        at_once: Attempts that run at a time.
        at_once_each: Attempts to one receiver at a time, while it answers.
        schedule: When to try again.
        user_agent: Who we say we are.
    """

    at_once: int = 64
    at_once_each: int = 4
    schedule: Schedule = field(default_factory=Schedule)
    user_agent: str = "Penstock"


class _Attempt(NamedTuple):
    delivery: DeliveryRecord
    origin: str


class Webhooks:
    """The sender. `start` once, then `wake` when a delivery was added; `close` at the end.

    Args:
        database: Where deliveries are.
        outgoing: Posts.
        secrets: What is signed with.
        read_body: Makes the body of a delivery.
        options: How much at a time, and when again.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        outgoing: Outgoing,
        secrets: WebhookSecrets,
        read_body: ReadBody,
        options: SendOptions | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._store = database.records.webhooks
        self._outgoing = outgoing
        self._secrets = secrets
        self._read_body = read_body
        self._options = options or SendOptions()
        self._now = now
        self._event = asyncio.Event()
        self._in_hand: dict[str, _Attempt] = {}
        self._busy: Counter[str] = Counter()
        self._failing: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin with what is due, also from before a restart."""
        self._loop = asyncio.create_task(self._work())

    def wake(self) -> None:
        """Look for due deliveries soon."""
        self._event.set()

    async def close(self) -> None:
        """Stop. Attempts in the middle are given up; they are repeated at the next start."""
        self._closing = True  # before Python 3.12 `wait_for` may lose a cancellation
        tasks = [task for task in (self._loop, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._outgoing.close()

    # --- choosing ---

    async def _work(self) -> None:
        while not self._closing:
            self._event.clear()
            try:
                pause = await self._begin_due()
            except Exception:  # whatever it was, the others must be told all the same
                log.exception("Webhook deliveries could not be read.")
                pause = STORE_RETRY_S
            if pause:
                await self._sleep(pause)

    async def _begin_due(self) -> float:
        """Begin what may begin; return how long to sleep, in seconds, unless woken."""
        room = self._options.at_once - len(self._in_hand)
        if room <= 0:
            return _LONGEST_SLEEP_S  # the end of an attempt wakes us
        now = self._now()
        full = [origin for origin in self._busy if not self._has_room(origin)]
        due = await self._database.call(self._store.due, now, room, set(self._in_hand), full)
        begun = sum(self._begin(delivery) for delivery in due)
        if begun:
            return 0.0
        at = await self._database.call(self._store.next_due, now)
        return _LONGEST_SLEEP_S if at is None else max(0.001, at - self._now())

    async def _sleep(self, pause: float) -> None:
        try:
            await asyncio.wait_for(self._event.wait(), min(pause, _LONGEST_SLEEP_S))
        except asyncio.TimeoutError:
            return

    def _has_room(self, origin: str) -> bool:
        most = 1 if origin in self._failing else self._options.at_once_each
        return self._busy[origin] < most

    def _begin(self, delivery: DeliveryRecord) -> bool:
        if delivery.id in self._in_hand:
            return False
        try:
            origin = read_url(delivery.url).origin
        except InvalidWebhookUrl:
            origin = ""  # the attempt will say what is wrong with it
        if not self._has_room(origin):
            return False
        attempt = _Attempt(delivery, origin)
        self._in_hand[delivery.id] = attempt
        self._busy[origin] += 1
        task = asyncio.create_task(self._deliver(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    # --- sending ---

    async def _deliver(self, attempt: _Attempt) -> None:
        delivery, origin = attempt
        try:
            at = self._now()
            outcome, final = await self._post(delivery, at)
            self._remember(origin, outcome)
            fault("webhook.posted")
            await self._settle(self._settlement(delivery, at, outcome, final))
        finally:
            del self._in_hand[delivery.id]
            self._busy -= Counter([origin])
            self._event.set()

    async def _post(self, delivery: DeliveryRecord, at: float) -> tuple[Outcome, bool]:
        """Make one attempt; return its outcome, and whether no other could turn out better."""
        try:
            url = read_url(delivery.url)
            body = await self._read_body(delivery)
            secrets = await self._secrets.signing(delivery.project)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": self._options.user_agent,
                **signed_headers(delivery.id, at, body, secrets),
            }
            return await self._outgoing.post(url, headers, body), False
        except (InvalidWebhookUrl, NotFound) as error:
            return Outcome(None, str(error), 0.0), True
        except PenstockError as error:
            return Outcome(None, str(error), 0.0), False
        except Exception:  # without an outcome it would be due again at once, without end
            log.exception("Webhook %s could not be sent.", delivery.id)
            return Outcome(None, "The server failed to send it; see its log.", 0.0), False

    def _remember(self, origin: str, outcome: Outcome) -> None:
        """Give a receiver that does not answer less room, until it answers."""
        if outcome.status is not None:
            self._failing.pop(origin, None)
            return
        self._failing[origin] = None
        self._failing.move_to_end(origin)
        if len(self._failing) > _FAILING:
            self._failing.popitem(last=False)

    def _settlement(
        self, delivery: DeliveryRecord, at: float, outcome: Outcome, final: bool
    ) -> Settlement:
        status = outcome.status
        state, again_at, error = DeliveryState.DELIVERED, None, None
        if status is None or not 200 <= status < 300:
            error = outcome.error or _refusal(status)
            if not final and status != 410:
                again_at = self._options.schedule.next_at(delivery.attempt + 1, self._now())
            state = DeliveryState.FAILED if again_at is None else DeliveryState.PENDING
        made = AttemptRecord(at, status, error or "", outcome.took_ms)
        return Settlement(delivery.id, delivery.attempt, made, state, again_at, error)

    async def _settle(self, settlement: Settlement) -> None:
        """Record an attempt; as long as the disk refuses, try again: it was made."""
        while not await self._is_settled(settlement):  # noqa: ASYNC110 - no event tells of space
            await asyncio.sleep(STORE_RETRY_S)

    async def _is_settled(self, settlement: Settlement) -> bool:
        try:
            await self._database.call(self._store.settle, settlement)
        except Exception:  # given up, it would be made again at once, without end
            log.exception("The attempt of webhook %s is not recorded yet.", settlement.id)
            return False
        return True


def _refusal(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"The receiver answered {status}; webhooks do not follow redirects."
    if status == 410:
        return "The receiver answered 410: it wants no more webhooks."
    return f"The receiver answered {status}."
