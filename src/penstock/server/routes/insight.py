"""What calls did: figures over time, everything about one run, log lines."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.insight.run_details import RunDetails
from penstock.control.insight.run_logs import Lines
from penstock.control.insight.traffic_views import Overview, Traffic
from penstock.core.errors import InvalidSetting, NotFound
from penstock.core.insight_records import LogFilter
from penstock.core.records import Scope
from penstock.server.auth import sees_tracebacks
from penstock.server.endpoints import Endpoint, Parts, json_answer
from penstock.server.queries import query_number
from penstock.server.run_grants import check_run

#: Longest wait for a log line, in seconds; lines of one answer, at most and by default.
MAX_WAIT_S = 60.0
MAX_LINES = 5000
LINES = 500


async def overview(request: Request, parts: Parts) -> Response:
    """Answer all deployments of a project at a glance: those that the key is granted."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    return json_answer(parts.insight.series.overview(project, request.state.key.deployments))


async def traffic(request: Request, parts: Parts) -> Response:
    """Answer what a deployment did in a range of time."""
    project, name = request.path_params["project"], request.path_params["name"]
    version = query_number(request, "version", 1, 2**31)
    named = request.query_params.get("range", "1h")
    await parts.deployments.get(project, name)
    asked = None if version is None else int(version)
    return json_answer(await parts.insight.series.traffic(project, name, asked, named))


async def run_details(request: Request, parts: Parts) -> Response:
    """Answer everything about one run."""
    params = request.path_params
    shows = sees_tracebacks(request)
    details = parts.insight.details
    await check_run(request, parts)
    found = await details.get(params["project"], params["run_id"], with_traceback=shows)
    return json_answer(found)


async def run_input(request: Request, parts: Parts) -> Response:
    """Answer the body of a run's request as it was sent."""
    params = request.path_params
    await check_run(request, parts)
    found = await parts.insight.details.input(params["project"], params["run_id"])
    headers = {
        "content-type": found.media_type or "application/octet-stream",
        "content-security-policy": "sandbox",
        "x-content-type-options": "nosniff",
        "penstock-cut": "1" if found.cut else "0",
    }
    return Response(found.body, headers=headers)


async def run_logs(request: Request, parts: Parts) -> Response:
    """Answer what the functions of one run printed and logged."""
    params = request.path_params
    granted = request.state.key.deployments
    wanted = LogFilter(params["project"], run_id=params["run_id"], only=granted)
    return await _lines(request, parts, wanted)


async def deployment_logs(request: Request, parts: Parts) -> Response:
    """Answer what a deployment's workers printed and logged."""
    project, name = request.path_params["project"], request.path_params["name"]
    version = query_number(request, "version", 1, 2**31)
    query = request.query_params
    await parts.deployments.get(project, name)
    wanted = LogFilter(
        project,
        deployment=name,
        version=None if version is None else int(version),
        run_id=query.get("run"),
        level=query.get("level"),
        text=query.get("text"),
    )
    return await _lines(request, parts, wanted)


async def _lines(request: Request, parts: Parts, wanted: LogFilter) -> Response:
    limit = query_number(request, "limit", 1, MAX_LINES)
    after = query_number(request, "after", 0, 2**62)
    before = query_number(request, "before", 0, 2**62)
    found = await parts.insight.logs.lines(
        wanted,
        LINES if limit is None else int(limit),
        after=None if after is None else int(after),
        before=None if before is None else int(before),
        wait_s=query_number(request, "wait", 0, MAX_WAIT_S) or 0.0,
    )
    return json_answer(found)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}/traffic",
        overview,
        "Show all deployments of a project at a glance: calls, errors and times just now.",
        Scope.READ,
        checks_grant=True,
        gives=Overview,
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/{name}/traffic",
        traffic,
        "Show what a deployment did over time; ?range=15m, 1h, 24h, 7d or 30d, ?version=3.",
        Scope.READ,
        gives=Traffic,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/{name}/logs",
        deployment_logs,
        "Show what a deployment's functions printed and logged; ?after=…&wait=30 follows.",
        Scope.READ,
        gives=Lines,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/runs/{run_id}/details",
        run_details,
        "Show everything about a run: timeline, error, input and result as they are kept.",
        Scope.READ,
        checks_grant=True,
        gives=RunDetails,
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/runs/{run_id}/input",
        run_input,
        "Read the body of a run's request as it was sent.",
        Scope.READ,
        checks_grant=True,
        gives="application/octet-stream",
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/runs/{run_id}/logs",
        run_logs,
        "Show what the functions of a run printed and logged.",
        Scope.READ,
        checks_grant=True,
        gives=Lines,
        errors=(InvalidSetting,),
    ),
]
