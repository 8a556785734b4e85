"""`/healthz` and `/readyz`: for whatever watches the server. No key."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import PenstockError
from penstock.server.endpoints import Endpoint, Parts, json_answer


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """Whether everything that should serve does. `not_serving` holds `project/deployment`."""

    status: str
    stores: str
    not_serving: list[str]


async def healthz(_request: Request, _parts: Parts) -> Response:
    """Answer that the process is alive."""
    return json_answer(Health())


async def readyz(_request: Request, parts: Parts) -> Response:
    """Answer 200 when the stores work and every active version runs, else 503 and why."""
    try:
        await parts.stores_work()
        stores = "ok"
    except PenstockError as error:
        stores = error.message
    waiting = parts.not_serving()
    ready = stores == "ok" and not waiting
    body = Readiness("ready" if ready else "not ready", stores, waiting)
    return json_answer(body, 200 if ready else 503)


ENDPOINTS = [
    Endpoint("GET", "/healthz", healthz, "Whether the process is alive.", None, gives=Health),
    Endpoint("GET", "/readyz", readyz, "Whether everything serves.", None, gives=Readiness),
]
