"""The environments that versions have for themselves: what there is, and who uses it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.environments import EnvironmentView
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer


class EnvironmentList(msgspec.Struct, frozen=True):
    """The environments of this server, the newest first."""

    environments: list[EnvironmentView]


async def list_environments(_request: Request, parts: Parts) -> Response:
    """Answer every environment."""
    return json_answer(EnvironmentList(await parts.environments.views()))


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/environments",
        list_environments,
        "List the environments that versions have for themselves.",
        Scope.ADMIN,
        gives=EnvironmentList,
    ),
]
