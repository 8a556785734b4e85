"""One run: where its time went, what was logged, what went in and came out, where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

from penstock.control.insight.run_details import RunDetails, Sample
from penstock.control.insight.run_list import RunSummary, cursor_of
from penstock.control.status import StageView
from penstock.core.errors import NotFound
from penstock.core.insight_records import LogFilter, RunFilter
from penstock.core.records import Scope
from penstock.core.states import RunState
from penstock.dashboard import states
from penstock.dashboard.attention import before_active
from penstock.dashboard.calls import call_version
from penstock.dashboard.fall import fall_of
from penstock.dashboard.parts import Parts
from penstock.dashboard.run_cause import cause_of
from penstock.dashboard.run_input import described, input_of, pretty
from penstock.dashboard.run_seen import seen_run
from penstock.dashboard.run_stop import frames_of, place_of
from penstock.dashboard.visit import Go, Page, Visit
from penstock.dashboard.words import size as size_in_words

_LOG_LINES = 500

#: How far ahead the next run is looked for, and how many runs of a stretch are read.
_LOOK_AHEAD_S, _NEAR = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e8), 200

#: Predictions of a run that are listed, with their truths.
_PREDICTIONS = 10


class Told(NamedTuple):
    """A prediction with its truth as JSON, empty if it was not told, and whether it was right."""

    prediction_id: str
    truth: str
    met: bool | None


async def run(visit: Visit, parts: Parts) -> Page:
    """Answer one run."""
    details = await seen_run(visit, parts)
    run_id = details.run.run_id
    summary = details.run
    stages = await _stages(visit, parts, summary)
    lines = await parts.logs.lines(LogFilter(visit.project, run_id=run_id), _LOG_LINES)
    data, parameters, files = await input_of(visit, parts, details)
    sent = described(details.input.size_bytes, files)
    result = details.result
    answered = _told_of(result)
    traffic = await parts.series.traffic(visit.project, summary.deployment, None, "1h")
    frames = frames_of(details)
    place = await place_of(visit, parts, details)
    called = {one.version for one in traffic.versions if one.calls}
    cause = await cause_of(visit, parts, summary, place.key if place else "", called)
    values: dict[str, Any] = {
        "here": "deployments",
        "raised": frames[-1][0] if frames else "",
        "cause": cause,
        "details": details,
        "run": summary,
        "state_shown": states.of_run(summary.state),
        "fall": fall_of(details.timeline, stages, details.error, sent, answered),
        "lines": lines.lines,
        "data": data,
        "parameters": parameters,
        "files": files,
        "result_is": _told_of(result),
        "result": pretty(result.text) if result is not None and result.text else "",
        "place": place,
        "frames": frames,
        "answer": _answer(details),
        "status": parts.status_of(summary.error_code) if summary.error_code else 200,
        "compared": _compared(summary, traffic.total.p50_ms),
        "earlier": await _earlier(visit, parts, summary),
        "later": await _later(visit, parts, summary),
        "rollback": await _rollback(visit, parts, summary),
        "truths": await _truths(parts, details),
        "watched": parts.monitoring.watches(visit.project, summary.deployment),
        "may_repeat": visit.may_predict and details.input.kept == "full",
    }
    return Page("run.html", values, part=visit.part("live-block", "run_live.html"))


async def _truths(parts: Parts, details: RunDetails) -> list[Told]:
    """Return what is known to be true of the first predictions of a run."""
    known = await parts.monitoring.truths(details.run.run_id)
    found = []
    for prediction_id in details.prediction_ids[:_PREDICTIONS]:
        truth, met = known.get(prediction_id, ("", None))
        found.append(Told(prediction_id, truth, met))
    return found


async def _stages(visit: Visit, parts: Parts, summary: RunSummary) -> list[StageView]:
    if summary.version is None:
        return []
    try:
        version = await parts.versions.get(visit.project, summary.deployment, summary.version)
    except NotFound:
        return []
    return list(version.stages)


def _answer(details: RunDetails) -> str:
    """Return what the caller was told of an error, as JSON text."""
    if not details.error:
        return ""
    told = {
        k: v for k, v in details.error.items() if k not in {"traceback", "facts"} and v is not None
    }
    return json.dumps({"error": told, "run_id": details.run.run_id}, ensure_ascii=False, indent=2)


def _told_of(result: Sample | None) -> str:
    """Return kind and size of a result: dict, 112 B."""
    if result is None:
        return ""
    text = result.text if result.kept == "full" else None
    whole = len(text.encode()) if text is not None else None
    size = result.size_bytes if result.size_bytes is not None else whole
    kind = {"{": "dict", "[": "list"}.get((text or "")[:1], "")
    return ", ".join(filter(None, (kind, "" if size is None else size_in_words(size))))


def _compared(summary: RunSummary, p50: float | None) -> str:
    if summary.run_time_ms is None or p50 is None:
        return ""
    more = summary.run_time_ms - p50
    return f"{abs(more):.1f} ms {'slower' if more > 0 else 'faster'}"


async def _earlier(visit: Visit, parts: Parts, summary: RunSummary) -> str:
    """Return the id of the run before this one, of failed ones if this one failed."""
    found = await parts.run_lists.list(_alike(visit, summary), None, 1, cursor_of(summary))
    return found.runs[0].run_id if found.runs else ""


async def _later(visit: Visit, parts: Parts, summary: RunSummary) -> str:
    """Return the id of the run after this one. Lists begin with the newest, so it looks not far."""
    for seconds in _LOOK_AHEAD_S:
        until = summary.created_at + seconds
        wanted = replace(_alike(visit, summary), since=summary.created_at, until=until)
        found = await parts.run_lists.list(wanted, None, _NEAR, None)
        here = (summary.created_at, summary.run_id)
        after = [run.run_id for run in found.runs if (run.created_at, run.run_id) > here]
        if after:
            return after[-1]
    return ""


def _alike(visit: Visit, summary: RunSummary) -> RunFilter:
    only = (RunState.FAILED,) if summary.state == "failed" else ()
    return RunFilter(visit.project, summary.deployment, only)


async def _rollback(visit: Visit, parts: Parts, summary: RunSummary) -> int | None:
    """Return the version to roll back to after a failed run of the active version."""
    if summary.state != "failed" or not visit.may_deploy:
        return None
    try:
        view = await parts.deployments.get(visit.project, summary.deployment)
    except NotFound:
        return None
    return before_active(view) if view.active == summary.version else None


async def repeat(visit: Visit, parts: Parts) -> Go:
    """Send the run's input once more, to the version that serves now."""
    visit.require(Scope.PREDICT)
    run_id = visit.request.path_params["run_id"]
    details = await seen_run(visit, parts)
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
    await seen_run(visit, parts)
    record = await parts.runs.cancel(visit.project, run_id)
    return Go(f"{visit.base}/runs/{run_id}", f"The run is {record.state.value}.")
