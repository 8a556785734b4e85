"""Watching predictions: a reference, drift from it, later truths."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.insight.monitor_views import (
    FeedbackAnswer,
    FeedbackBody,
    MonitorBody,
    MonitorView,
)
from penstock.core.errors import InvalidSetting, InvalidWebhookUrl, MalformedBody, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


async def get_monitoring(request: Request, parts: Parts) -> Response:
    """Answer how a deployment's predictions fare beside their reference."""
    project, name = await _deployment(request, parts)
    return json_answer(await parts.insight.monitoring.get(project, name))


async def start_monitoring(request: Request, parts: Parts) -> Response:
    """Take a reference and what to watch for."""
    project, name = await _deployment(request, parts)
    asked = await read_json(request, MonitorBody, parts.settings, large=True)
    return json_answer(await parts.insight.monitoring.put(project, name, asked))


async def delete_monitoring(request: Request, parts: Parts) -> Response:
    """Watch a deployment's predictions no more."""
    project, name = await _deployment(request, parts)
    await parts.insight.monitoring.remove(project, name)
    return Response(status_code=204)


async def give_feedback(request: Request, parts: Parts) -> Response:
    """Take the truth about predictions."""
    project, name = await _deployment(request, parts)
    told = await read_json(request, FeedbackBody, parts.settings)
    answer = await parts.insight.monitoring.feedback(project, name, told.feedback)
    return json_answer(answer)


async def _deployment(request: Request, parts: Parts) -> tuple[str, str]:
    project, name = request.path_params["project"], request.path_params["name"]
    await parts.deployments.get(project, name)
    return project, name


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}/{name}/monitoring",
        get_monitoring,
        "Show drift from the reference and accuracy over time.",
        Scope.READ,
        gives=MonitorView,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        "/v1/{project}/{name}/monitoring",
        start_monitoring,
        "Watch a deployment's predictions beside a reference.",
        Scope.DEPLOY,
        takes=MonitorBody,
        gives=MonitorView,
        errors=(NotFound, InvalidSetting, InvalidWebhookUrl, MalformedBody),
    ),
    Endpoint(
        "DELETE",
        "/v1/{project}/{name}/monitoring",
        delete_monitoring,
        "Watch a deployment's predictions no more.",
        Scope.DEPLOY,
        status=204,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        "/v1/{project}/{name}/feedback",
        give_feedback,
        "Tell the truth about predictions, by their ids.",
        Scope.PREDICT,
        takes=FeedbackBody,
        gives=FeedbackAnswer,
        errors=(NotFound, MalformedBody),
    ),
]
