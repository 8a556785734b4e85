"""Webhooks of a project: deliveries with their attempts, sent again or no more, the secret."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.control.deliveries import DeliveryFilter
from penstock.core.delivery_records import AttemptRecord, DeliveryRecord, DeliveryState
from penstock.core.errors import Conflict, NotFound
from penstock.core.records import Scope
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

_PAGE = 50


async def webhooks(visit: Visit, parts: Parts, secret: str = "") -> Page:
    """Answer the deliveries, filtered and by pages."""
    state = visit.query("state")
    wanted = DeliveryFilter(
        DeliveryState(state) if state in set(DeliveryState) else None,
        visit.query("deployment") or None,
        visit.query("run") or None,
        visit.key.deployments,
    )
    before = visit.query("before") or None
    found = await parts.deliveries.list(visit.project, wanted, _PAGE, before)
    values = {
        "here": "webhooks",
        "deliveries": found,
        "states": [s.value for s in DeliveryState],
        "state_asked": state,
        "filtered": bool(state or wanted.deployment or wanted.run_id),
        "next": found[-1].id if len(found) == _PAGE else "",
        "secret": secret,
    }
    return Page("webhooks.html", values)


async def delivery(visit: Visit, parts: Parts) -> Page:
    """Answer one delivery with its attempts."""
    found, attempts = await _seen(visit, parts)
    return Page("delivery.html", {"here": "webhooks", "delivery": found, "attempts": attempts})


async def _seen(visit: Visit, parts: Parts) -> tuple[DeliveryRecord, Sequence[AttemptRecord]]:
    """Return the delivery of the address and its attempts, if it is of what the key is for."""
    delivery_id = visit.request.path_params["delivery_id"]
    found, attempts = await parts.deliveries.get(visit.project, delivery_id)
    if not visit.sees(found.deployment):
        raise NotFound(f"This key sees no delivery {delivery_id[:64]!r}.")
    return found, attempts


async def redeliver(visit: Visit, parts: Parts) -> Go:
    """Send a delivery again, now."""
    visit.require(Scope.DEPLOY)
    await _seen(visit, parts)
    found = await parts.deliveries.redeliver(
        visit.project, visit.request.path_params["delivery_id"]
    )
    return Go(f"{visit.base}/webhooks/{found.id}", "It is sent again, under the same id.")


async def cancel(visit: Visit, parts: Parts) -> Go:
    """Send a delivery no more."""
    visit.require(Scope.DEPLOY)
    await _seen(visit, parts)
    found = await parts.deliveries.call_off(visit.project, visit.request.path_params["delivery_id"])
    if found.state is DeliveryState.CANCELLED:
        return Go(f"{visit.base}/webhooks/{found.id}", "It is not sent any more.")
    return Go(f"{visit.base}/webhooks/{found.id}", f"It is {found.state.value}.", failed=True)


async def secret(visit: Visit, parts: Parts) -> Page | Go:
    """Show the signing secret, once, or make a new one."""
    visit.require(Scope.DEPLOY)
    fields = await visit.form()
    if fields.get("do") == "replace":
        record = await parts.webhook_secrets.rotate(visit.project)
    else:
        try:
            record = await parts.webhook_secrets.show(visit.project)
        except Conflict as error:
            return Go(f"{visit.base}/webhooks", error.message, failed=True)
    return await webhooks(visit, parts, record.secret)
