"""Asynchronous runs: list, show (and wait for), cancel. They are submitted on the predict path."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.run_view import RunList, RunView, run_json, run_list
from penstock.core.errors import InvalidSetting, NotFound
from penstock.core.records import Scope
from penstock.core.run_records import RunRecord
from penstock.core.states import RunState
from penstock.server.endpoints import ANY_KEY, Endpoint, Parts, json_answer

#: Longest wait of one request, in seconds.
MAX_WAIT_S = 60.0

#: Runs in one page of a list, at most and by default.
MAX_PAGE = 1000
PAGE = 50

_MAY_SEE_TRACEBACKS = frozenset({Scope.ADMIN, Scope.DEPLOY})


async def list_runs(request: Request, parts: Parts) -> Response:
    """Answer the runs of a project, newest first."""
    query = request.query_params
    state = query.get("state")
    if state is not None and state not in set(RunState):
        known = ", ".join(s.value for s in RunState)
        raise InvalidSetting(f"There is no state {state[:40]!r}; the states are {known}.")
    limit = int(_number(request, "limit", PAGE, 1, MAX_PAGE))
    before = int(_number(request, "before", 0, 0, 2**62)) or None
    project = request.path_params["project"]
    await parts.projects.get(project)
    found = await parts.runs.list(
        project,
        query.get("deployment"),
        None if state is None else RunState(state),
        limit,
        before,
    )
    return json_answer(run_list(found, limit))


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise InvalidSetting(f"{name} is {text[:40]!r}; it must be from {least:g} to {most:g}.")
    return number


async def get_run(request: Request, parts: Parts) -> Response:
    """Answer one run; with `wait`, once it is at its end or that many seconds have passed."""
    params = request.path_params
    seconds = _number(request, "wait", 0.0, 0.0, MAX_WAIT_S)
    record = await parts.runs.wait(params["project"], params["run_id"], seconds)
    return await _answer(request, parts, record)


async def cancel_run(request: Request, parts: Parts) -> Response:
    """Cancel a run and answer it as it now is: one that was at its end stays as it was."""
    params = request.path_params
    record = await parts.runs.cancel(params["project"], params["run_id"])
    return await _answer(request, parts, record)


async def _answer(request: Request, parts: Parts, record: RunRecord) -> Response:
    result = None if record.result is None else await parts.runs.payloads.read(record.result)
    shows = request.state.key.scope in _MAY_SEE_TRACEBACKS
    body = run_json(record, result, with_traceback=shows)
    return Response(body, media_type="application/json")


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}/runs",
        list_runs,
        "List the asynchronous runs of a project, newest first.",
        Scope.READ,
        gives=RunList,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "GET",
        "/v1/{project}/runs/{run_id}",
        get_run,
        "Show an asynchronous run; ?wait=30 waits for its end.",
        ANY_KEY,
        gives=RunView,
        errors=(NotFound, InvalidSetting),
    ),
    Endpoint(
        "POST",
        "/v1/{project}/runs/{run_id}/cancel",
        cancel_run,
        "Cancel an asynchronous run.",
        Scope.PREDICT,
        gives=RunView,
        errors=(NotFound,),
    ),
]
