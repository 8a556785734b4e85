"""Deployments of a project: list, show, delete."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.status import DeploymentView
from penstock.core.errors import NotFound
from penstock.core.records import Scope
from penstock.server.auth import sees_tracebacks
from penstock.server.endpoints import Endpoint, Parts, json_answer


class DeploymentList(msgspec.Struct, frozen=True):
    """The deployments of a project, by name."""

    deployments: list[DeploymentView]


async def list_deployments(request: Request, parts: Parts) -> Response:
    """Answer the deployments of a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    key, shows = request.state.key, sees_tracebacks(request)
    found = await parts.deployments.list(project, with_traceback=shows)
    return json_answer(DeploymentList([view for view in found if key.grants(view.name)]))


async def get_deployment(request: Request, parts: Parts) -> Response:
    """Answer one deployment with its versions and replicas."""
    params, shows = request.path_params, sees_tracebacks(request)
    found = await parts.deployments.get(params["project"], params["name"], with_traceback=shows)
    return json_answer(found)


async def delete_deployment(request: Request, parts: Parts) -> Response:
    """Delete a deployment with its versions and memory."""
    params = request.path_params
    await parts.deployments.delete(params["project"], params["name"])
    return Response(status_code=204)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}",
        list_deployments,
        "List the deployments of a project; a key that is granted some sees those.",
        Scope.READ,
        checks_grant=True,
        gives=DeploymentList,
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/{name}",
        get_deployment,
        "Show a deployment with its versions and replicas.",
        Scope.READ,
        gives=DeploymentView,
        errors=(NotFound,),
    ),
    Endpoint(
        "DELETE",
        "/v1/{project}/{name}",
        delete_deployment,
        "Delete a deployment with its versions and memory.",
        Scope.DEPLOY,
        status=204,
        errors=(NotFound,),
    ),
]
