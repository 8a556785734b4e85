"""The limits of a deployment's replicas: changed without a deploy, or along with one."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.status import DeploymentView
from penstock.core.errors import InvalidSetting, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


class ScalingBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits to change; what is left out stays, null takes a limit back.

    `min_replicas` 0 lets the deployment sleep `cooldown_s` seconds after its last call.
    """

    min_replicas: int | UnsetType | None = UNSET
    max_replicas: int | UnsetType | None = UNSET
    cooldown_s: float | UnsetType | None = UNSET

    def given(self) -> dict[str, Any]:
        """Return the limits that were given, by name."""
        return {k: v for k, v in msgspec.structs.asdict(self).items() if v is not UNSET}


async def scale_deployment(request: Request, parts: Parts) -> Response:
    """Change the limits and answer the deployment."""
    params = request.path_params
    body = await read_json(request, ScalingBody, parts.settings)
    view = await parts.deployments.scale(params["project"], params["name"], body.given())
    return json_answer(view)


ENDPOINTS = [
    Endpoint(
        "PATCH",
        "/v1/{project}/{name}",
        scale_deployment,
        "Change how many replicas a deployment may have, without a deploy.",
        Scope.DEPLOY,
        takes=ScalingBody,
        gives=DeploymentView,
        errors=(NotFound, InvalidSetting),
    ),
]
