"""The descriptions of the API in OpenAPI: of the control API, and of one deployment's call."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import NotFound
from penstock.server.endpoints import ANY_KEY, Endpoint, Parts, json_answer
from penstock.server.openapi import describe_deployment

#: An example larger than this (bytes) is left out of a deployment's description.
EXAMPLE_LIMIT = 64 * 1024


async def describe_control_api(request: Request, _parts: Parts) -> Response:
    """Answer the description of the control API; `build_app` made it."""
    return Response(request.app.state.description, media_type="application/json")


async def describe_endpoint(request: Request, parts: Parts) -> Response:
    """Answer the description of one deployment's predict call."""
    project, name = request.path_params["project"], request.path_params["name"]
    found = await parts.deployments.get(project, name)
    example = None
    if found.active is not None:
        example = _plain(await parts.versions.example(project, name, found.active))
    return json_answer(describe_deployment(found, str(found.active or ""), example))


def _plain(example: tuple[str, bytes] | None) -> Any:
    """Return the data of a JSON example; None for any other."""
    if example is None:
        return None
    media_type, body = example
    if media_type.partition(";")[0].strip() != "application/json" or len(body) > EXAMPLE_LIMIT:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/openapi.json",
        describe_control_api,
        "Describe the control API in OpenAPI 3.1.",
        None,
        gives="application/json",
    ),
    Endpoint(
        "GET",
        "/v1/{project}/{name}/openapi.json",
        describe_endpoint,
        "Describe the predict call of a deployment in OpenAPI 3.1.",
        ANY_KEY,
        gives="application/json",
        errors=(NotFound,),
    ),
]
