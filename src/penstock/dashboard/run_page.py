"""One run: where its time went, what was logged, what went in and came out, where it stopped."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import Response

from penstock.codec.payload import decode
from penstock.control.insight.run_details import RunDetails
from penstock.control.insight.run_list import RunSummary, cursor_of
from penstock.control.status import StageView
from penstock.core.errors import NotFound, PenstockError
from penstock.core.insight_records import LogFilter, RunFilter
from penstock.core.records import Scope
from penstock.core.states import RunState
from penstock.dashboard import colour, states
from penstock.dashboard.calls import call_version
from penstock.dashboard.fall import fall_of
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

#: Lines of the function shown around the one that failed.
_AROUND = 8

_LOG_LINES = 500

#: A call that was just answered is written within a second or two; so often it is looked for.
_FRESH_TRIES, _FRESH_PAUSE_S = 16, 0.25

#: Content types of files that are shown as a small picture.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class File(NamedTuple):
    """A file of the input."""

    number: int
    name: str
    kind: str
    size: int
    shown: bool


class Place(NamedTuple):
    """Where user code stopped: the function's lines, with the number of the one that failed."""

    file: str
    function: str
    line: int
    lines: list[tuple[int, Any]]
    values: list[tuple[str, str]]
    key: str


async def run(visit: Visit, parts: Parts) -> Page:
    """Answer one run."""
    details = await _details(visit, parts)
    run_id = details.run.run_id
    summary = details.run
    stages = await _stages(visit, parts, summary)
    lines = await parts.logs.lines(LogFilter(visit.project, run_id=run_id), _LOG_LINES)
    data, parameters, files = await _input(visit, parts, details)
    sent = _told(details.input.size_bytes, files)
    result = details.result
    answered = _size(result.size_bytes) if result is not None else ""
    traffic = await parts.series.traffic(visit.project, summary.deployment, None, "1h")
    frames = _frames(details)
    older = await _older(visit, parts, summary)
    values: dict[str, Any] = {
        "here": "deployments",
        "raised": frames[-1][0] if frames else "",
        "older": older,
        "details": details,
        "run": summary,
        "state_shown": states.of_run(summary.state),
        "fall": fall_of(details.timeline, stages, details.error, sent, answered),
        "lines": lines.lines,
        "data": data,
        "parameters": parameters,
        "files": files,
        "result": _pretty(result.text) if result is not None and result.text else "",
        "place": await _place(visit, parts, details),
        "frames": frames,
        "answer": _answer(details),
        "status": parts.status_of(summary.error_code) if summary.error_code else 200,
        "compared": _compared(summary, traffic.total.p50_ms),
        "earlier": await _neighbour(visit, parts, summary, later=False),
        "later": await _neighbour(visit, parts, summary, later=True),
        "rollback": await _rollback(visit, parts, summary),
        "may_repeat": visit.may_predict and details.input.kept == "full",
    }
    return Page("run.html", values, part=visit.part("live-block", "run_live.html"))


async def _details(visit: Visit, parts: Parts) -> RunDetails:
    found = await _found(visit, parts, _FRESH_TRIES if visit.query("fresh") else 0)
    if not visit.sees(found.run.deployment):
        raise NotFound(f"This key sees no run {found.run.run_id[:64]!r}.")
    return found


async def _found(visit: Visit, parts: Parts, tries: int) -> RunDetails:
    """Return the run; one that has just ended is kept a moment later, and waited for."""
    run_id = visit.request.path_params["run_id"]
    for _ in range(tries):
        try:
            return await parts.details.get(visit.project, run_id, with_traceback=visit.may_deploy)
        except NotFound:  # noqa: PERF203 - four times a second
            await asyncio.sleep(_FRESH_PAUSE_S)
    return await parts.details.get(visit.project, run_id, with_traceback=visit.may_deploy)


async def _stages(visit: Visit, parts: Parts, summary: RunSummary) -> list[StageView]:
    if summary.version is None:
        return []
    try:
        version = await parts.versions.get(visit.project, summary.deployment, summary.version)
    except NotFound:
        return []
    return list(version.stages)


async def _input(visit: Visit, parts: Parts, details: RunDetails) -> tuple[str, str, list[File]]:
    """Return data and parameters as text and the files of the input, as far as they are kept."""
    if details.input.text is not None:
        return _pretty(details.input.text), "", []
    try:
        sent = await parts.details.input(visit.project, details.run.run_id)
        asked = decode(sent.media_type, sent.body)
    except PenstockError:
        return "", "", []
    files = [
        File(number, f.name, f.content_type, f.size, f.content_type in _PICTURES)
        for number, f in enumerate(asked.files)
    ]
    data = (
        json.dumps(asked.data, ensure_ascii=False) if isinstance(asked.data, (list, dict)) else ""
    )
    parameters = json.dumps(asked.parameters, ensure_ascii=False) if asked.parameters else ""
    return _pretty(data), parameters, files


def _pretty(text: str) -> str:
    """Return JSON text over several lines when that reads better; other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    flat = json.dumps(value, ensure_ascii=False)
    return flat if len(flat) <= 60 else json.dumps(value, ensure_ascii=False, indent=2)


def _told(size: int | None, files: list[File]) -> str:
    told = ["body"]
    if files:
        told.append(f"{len(files)} file" + ("" if len(files) == 1 else "s"))
    if size is not None:
        told.append(_size(size))
    return ", ".join(told)


def _size(size: int | None) -> str:
    from penstock.dashboard.words import size as words

    return words(size) if size is not None else ""


async def _place(visit: Visit, parts: Parts, details: RunDetails) -> Place | None:
    """Return the lines of the user's function that raised, as it was deployed."""
    error, at, summary = details.error, details.error_place, details.run
    if not error or not at or summary.version is None:
        return None
    try:
        code = await parts.code.of(visit.project, summary.deployment, summary.version)
    except NotFound:
        return None
    number = int(at.get("line") or 0)
    stage, role = error.get("stage"), error.get("function")
    wanted = [p for p in code.parts if p.key == f"s{stage}-{role}"]
    wanted += [
        p for p in code.parts if p.file and p.file.endswith(str(at.get("file")).rpartition("/")[2])
    ]
    for part in wanted:
        for piece in part.pieces:
            marked = colour.lines(colour.python(piece.text))
            if piece.line <= number < piece.line + len(marked):
                lines = [(piece.line + i, text) for i, text in enumerate(marked)]
                near = [ln for ln in lines if abs(ln[0] - number) <= _AROUND]
                told = str(at.get("function") or "")
                name = part.title if not told or told.startswith("<") else told
                values = [(str(k), str(v)) for k, v in (at.get("values") or {}).items()]
                return Place(part.file or part.title, name, number, near, values, part.key)
    return None


_FRAME = re.compile(r'\s*File "(?:.*/)?([^"/]+)", line (\d+), in (.+)')


def _frames(details: RunDetails) -> list[tuple[str, bool]]:
    """Return the lines of the traceback for people; the last one, which names the error, is marked.

    Folders of the worker and the marks below lines say nothing to them.
    """
    trace = str((details.error or {}).get("traceback") or "").rstrip()
    lines = []
    for line in trace.splitlines():
        found = _FRAME.match(line)
        if found:
            lines.append(f"{found[1]}:{found[2]} in {found[3]}")
        elif line.strip("~^ ") and not line.startswith("Traceback "):
            lines.append(line[2:] if line.startswith("    ") else line)
    return [(line, index == len(lines) - 1) for index, line in enumerate(lines)]


def _answer(details: RunDetails) -> str:
    """Return what the caller was told of an error, as JSON text."""
    if not details.error:
        return ""
    told = {
        k: v for k, v in details.error.items() if k not in {"traceback", "facts"} and v is not None
    }
    return json.dumps({"error": told, "run_id": details.run.run_id}, ensure_ascii=False, indent=2)


def _compared(summary: RunSummary, p50: float | None) -> str:
    if summary.run_time_ms is None or p50 is None:
        return ""
    more = summary.run_time_ms - p50
    return f"{abs(more):.1f} ms {'slower' if more > 0 else 'faster'}"


async def _neighbour(visit: Visit, parts: Parts, summary: RunSummary, *, later: bool) -> str:
    """Return the id of the run before or after this one, of failed ones if this one failed."""
    only = (RunState.FAILED,) if summary.state == "failed" else ()
    wanted = RunFilter(visit.project, summary.deployment, only)
    if not later:
        found = await parts.run_lists.list(wanted, None, 1, cursor_of(summary))
        return found.runs[0].run_id if found.runs else ""
    since = RunFilter(visit.project, summary.deployment, only, since=summary.created_at)
    found = await parts.run_lists.list(since, None, 50, None)
    before = ""
    for one in found.runs:
        if one.run_id == summary.run_id:
            return before
        before = one.run_id
    return ""


async def _rollback(visit: Visit, parts: Parts, summary: RunSummary) -> int | None:
    """Return the version to roll back to after a failed run of the active version."""
    from penstock.dashboard.overview import before_active

    if summary.state != "failed" or not visit.may_deploy:
        return None
    try:
        view = await parts.deployments.get(visit.project, summary.deployment)
    except NotFound:
        return None
    return before_active(view) if view.active == summary.version else None


async def _older(visit: Visit, parts: Parts, summary: RunSummary) -> int | None:
    """Return the version before the one that failed."""
    if summary.state != "failed" or summary.version is None:
        return None
    try:
        view = await parts.deployments.get(visit.project, summary.deployment)
    except NotFound:
        return None
    return next((v.number for v in view.versions if v.number < (summary.version or 0)), None)


async def input_file(visit: Visit, parts: Parts) -> Response:
    """Answer one file of a run's input: pictures to be shown, anything else to be saved."""
    params: Mapping[str, Any] = visit.request.path_params
    await _details(visit, parts)
    sent = await parts.details.input(visit.project, params["run_id"])
    asked = decode(sent.media_type, sent.body)
    number = int(params["number"])
    if number >= len(asked.files):
        raise NotFound(f"The run has {len(asked.files)} files.")
    file = asked.files[number]
    shown = file.content_type in _PICTURES
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline" if shown else "attachment",
    }
    kind = file.content_type if shown else "application/octet-stream"
    return Response(file.read(), media_type=kind, headers=headers)


async def repeat(visit: Visit, parts: Parts) -> Go:
    """Send the run's input once more, to the version that serves now."""
    visit.require(Scope.PREDICT)
    run_id = visit.request.path_params["run_id"]
    details = await _details(visit, parts)
    sent = await parts.details.input(visit.project, run_id)
    if sent.cut:
        return Go(
            f"{visit.base}/runs/{run_id}", "Only the beginning of its input is kept.", failed=True
        )
    made = await call_version(
        visit, parts, details.run.deployment, None, sent.media_type, sent.body
    )
    words = "This is the run again" if not made.code else "It failed again"
    return Go(
        f"{visit.base}/runs/{made.run_id}?fresh=1",
        f"{words}, as {made.run_id}.",
        failed=bool(made.code),
    )


async def cancel(visit: Visit, parts: Parts) -> Go:
    """Cancel an asynchronous run."""
    visit.require(Scope.PREDICT)
    run_id = visit.request.path_params["run_id"]
    await _details(visit, parts)
    record = await parts.runs.cancel(visit.project, run_id)
    return Go(f"{visit.base}/runs/{run_id}", f"The run is {record.state.value}.")
