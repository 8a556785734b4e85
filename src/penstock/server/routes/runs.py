"""Runs: list, show (and wait for), cancel. Asynchronous ones are submitted on the predict path."""

from __future__ import annotations

from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.insight.run_list import Kind, RunList, states_named
from penstock.control.run_view import RunView, call_json, run_json
from penstock.core.errors import BY_CODE, InvalidSetting, NotFound
from penstock.core.insight_records import CallRecord, RunFilter
from penstock.core.records import Scope
from penstock.core.run_records import RunRecord
from penstock.server.auth import check_grant, sees_tracebacks
from penstock.server.endpoints import ANY_KEY, Endpoint, Parts, json_answer
from penstock.server.queries import query_choice, query_number
from penstock.server.run_grants import check_run

#: Longest wait of one request, in seconds.
MAX_WAIT_S = 60.0

#: Runs in one page of a list, at most and by default.
MAX_PAGE = 1000
PAGE = 50


async def list_runs(request: Request, parts: Parts) -> Response:
    """Answer the runs of a project, newest first: those that the key is granted."""
    project = request.path_params["project"]
    deployment = request.query_params.get("deployment")
    if deployment is not None:
        check_grant(request.state.key, deployment)
    kind = query_choice(request, "kind", ("sync", "async"))
    limit = int(query_number(request, "limit", 1, MAX_PAGE) or PAGE)
    wanted = _filter(request, project)
    await parts.projects.get(project)
    found = await parts.insight.runs.list(
        wanted,
        cast("Kind | None", kind),
        limit,
        request.query_params.get("before"),
    )
    return json_answer(found)


def _filter(request: Request, project: str) -> RunFilter:
    query = request.query_params
    version = query_number(request, "version", 1, 2**31)
    return RunFilter(
        project=project,
        deployment=query.get("deployment"),
        states=states_named([s for part in query.getlist("state") for s in part.split(",") if s]),
        version=None if version is None else int(version),
        since=query_number(request, "since", 0, 1e12),
        until=query_number(request, "until", 0, 1e12),
        min_ms=query_number(request, "min_ms", 0, 1e12),
        max_ms=query_number(request, "max_ms", 0, 1e12),
        code=query_choice(request, "code", tuple(BY_CODE)),
        only=request.state.key.deployments,
    )


async def get_run(request: Request, parts: Parts) -> Response:
    """Answer one run; with `wait`, once it is at its end or that many seconds have passed."""
    project, run_id = request.path_params["project"], request.path_params["run_id"]
    seconds = query_number(request, "wait", 0.0, MAX_WAIT_S) or 0.0
    await check_run(request, parts)
    try:
        record = await parts.runs.wait(project, run_id, seconds)
    except NotFound:
        call = await parts.insight.details.call(project, run_id)
        if call is None:
            raise
        return _answer_call(request, call)
    return await _answer(request, parts, record)


def _answer_call(request: Request, call: CallRecord) -> Response:
    shows = sees_tracebacks(request)
    return Response(call_json(call, with_traceback=shows), media_type="application/json")


async def cancel_run(request: Request, parts: Parts) -> Response:
    """Cancel a run and answer it as it now is: one that was at its end stays as it was."""
    params = request.path_params
    await check_run(request, parts)
    record = await parts.runs.cancel(params["project"], params["run_id"])
    return await _answer(request, parts, record)


async def _answer(request: Request, parts: Parts, record: RunRecord) -> Response:
    result = None if record.result is None else await parts.runs.payloads.read(record.result)
    shows = sees_tracebacks(request)
    body = run_json(record, result, with_traceback=shows)
    return Response(body, media_type="application/json")


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}/runs",
        list_runs,
        "List the runs of a project, newest first: asynchronous ones and kept calls.",
        Scope.READ,
        gives=RunList,
        checks_grant=True,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/runs/{run_id}",
        get_run,
        "Show a run; ?wait=30 waits for the end of an asynchronous one.",
        ANY_KEY,
        gives=RunView,
        checks_grant=True,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "POST",
        "/v1/{project}/runs/{run_id}/cancel",
        cancel_run,
        "Cancel an asynchronous run.",
        Scope.PREDICT,
        gives=RunView,
        checks_grant=True,
        errors=(NotFound,),
    ),
]
