"""Webhooks of a project: the delivery log, sending again or no more, the signing secret."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.deliveries import LIST_LIMIT, DeliveryFilter
from penstock.core.delivery_records import (
    AttemptRecord,
    DeliveryRecord,
    DeliveryState,
    SecretRecord,
)
from penstock.core.errors import Conflict, InvalidSetting, InvalidWebhookUrl, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json

_DEFAULT_LIMIT = 100


class DeliveryList(msgspec.Struct, frozen=True):
    """Deliveries, newest first. `before` asks for the next page; null on the last one."""

    deliveries: list[DeliveryRecord]
    before: str | None


class DeliveryDetails(msgspec.Struct, frozen=True):
    """A delivery and its latest attempts, oldest first."""

    delivery: DeliveryRecord
    attempts: list[AttemptRecord]


class ReceiverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver, by any URL of it: scheme, host and port count, the path does not."""

    url: str


class CalledOff(msgspec.Struct, frozen=True):
    """How many deliveries will not be sent."""

    cancelled: int


class WebhookSecret(msgspec.Struct, frozen=True):
    """The present signing secret. It is shown this once."""

    secret: str
    created_at: float


async def list_deliveries(request: Request, parts: Parts) -> Response:
    """Answer deliveries of a project, filtered and paged by the query."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    query = request.query_params
    wanted = DeliveryFilter(
        _state(query.get("state")), query.get("deployment"), query.get("run_id")
    )
    limit = _limit(query.get("limit"))
    found = await parts.deliveries.list(project, wanted, limit, query.get("before"))
    before = found[-1].id if len(found) == limit else None
    return json_answer(DeliveryList(list(found), before))


def _state(text: str | None) -> DeliveryState | None:
    if text is None:
        return None
    try:
        return DeliveryState(text)
    except ValueError:
        known = ", ".join(state.value for state in DeliveryState)
        raise InvalidSetting(f"state={text!r}: the states are {known}.") from None


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not text.isdecimal() or not 0 < int(text) <= LIST_LIMIT:
        raise InvalidSetting(f"limit={text!r}: it must be from 1 to {LIST_LIMIT}.")
    return int(text)


async def get_delivery(request: Request, parts: Parts) -> Response:
    """Answer one delivery with its attempts."""
    params = request.path_params
    found, attempts = await parts.deliveries.get(params["project"], params["delivery_id"])
    return json_answer(DeliveryDetails(found, list(attempts)))


async def redeliver(request: Request, parts: Parts) -> Response:
    """Send a delivery again, whatever became of it."""
    params = request.path_params
    return json_answer(
        await parts.deliveries.redeliver(params["project"], params["delivery_id"]), 202
    )


async def cancel(request: Request, parts: Parts) -> Response:
    """Send a delivery no more."""
    params = request.path_params
    return json_answer(await parts.deliveries.call_off(params["project"], params["delivery_id"]))


async def cancel_all(request: Request, parts: Parts) -> Response:
    """Send no more what waits for one receiver."""
    project = request.path_params["project"]
    body = await read_json(request, ReceiverBody, parts.settings)
    await parts.projects.get(project)
    return json_answer(CalledOff(await parts.deliveries.call_off_receiver(project, body.url)))


async def show_secret(request: Request, parts: Parts) -> Response:
    """Answer the signing secret, if it was never shown before."""
    return _secret(await parts.webhook_secrets.show(request.path_params["project"]))


async def rotate_secret(request: Request, parts: Parts) -> Response:
    """Make a new signing secret."""
    return _secret(await parts.webhook_secrets.rotate(request.path_params["project"]), 201)


def _secret(record: SecretRecord, status: int = 200) -> Response:
    answer = json_answer(WebhookSecret(record.secret, record.created_at), status)
    answer.headers["cache-control"] = "no-store"
    return answer


_PATH = "/v1/{project}/webhooks"
_DELIVERY = _PATH + "/deliveries/{delivery_id}"

ENDPOINTS = [
    Endpoint(
        "GET",
        _PATH + "/deliveries",
        list_deliveries,
        "List webhook deliveries, newest first; ?state=, deployment=, run_id=, limit=, before=.",
        Scope.READ,
        gives=DeliveryList,
        errors=(InvalidSetting, NotFound),
    ),
    Endpoint(
        "GET",
        _DELIVERY,
        get_delivery,
        "Show a webhook delivery and its attempts.",
        Scope.READ,
        gives=DeliveryDetails,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        _DELIVERY + "/redeliver",
        redeliver,
        "Send a webhook again, now, under the same id.",
        Scope.DEPLOY,
        gives=DeliveryRecord,
        status=202,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        _DELIVERY + "/cancel",
        cancel,
        "Send a webhook no more: one that was not taken yet. It stays in the log.",
        Scope.DEPLOY,
        gives=DeliveryRecord,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        _PATH + "/deliveries/cancel",
        cancel_all,
        "Send no more what waits for one receiver, such as one that is gone for good.",
        Scope.DEPLOY,
        takes=ReceiverBody,
        gives=CalledOff,
        errors=(InvalidWebhookUrl, NotFound),
    ),
    Endpoint(
        "GET",
        _PATH + "/secret",
        show_secret,
        "Show the webhook signing secret; it is shown once.",
        Scope.DEPLOY,
        gives=WebhookSecret,
        errors=(Conflict, NotFound),
    ),
    Endpoint(
        "POST",
        _PATH + "/secret",
        rotate_secret,
        "Replace the webhook signing secret; the old one signs too for a day.",
        Scope.DEPLOY,
        gives=WebhookSecret,
        status=201,
        errors=(NotFound,),
    ),
]
