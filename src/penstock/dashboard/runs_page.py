"""The list of runs: of a project or of one deployment, filtered, in pages from the newest on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from penstock.control.insight.run_list import RunSummary
from penstock.core.errors import InvalidSetting
from penstock.core.insight_records import RunFilter
from penstock.core.states import RunState
from penstock.dashboard import drawn, states
from penstock.dashboard.deployment import header
from penstock.dashboard.overview import names_of
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Page, Visit

PAGE = 50

#: Times to choose from, with their seconds.
TIMES = {"15m": ("last 15 min", 900), "1h": ("last hour", 3600), "24h": ("last 24 h", 86400)}

#: Durations to choose from, in milliseconds.
DURATIONS = {"10": "over 10 ms", "100": "over 100 ms", "1000": "over 1 s", "10000": "over 10 s"}

_FIELDS = ("state", "version", "time", "over", "kind", "code")


async def project_runs(visit: Visit, parts: Parts) -> Page:
    """Answer the runs of all deployments."""
    names = await names_of(visit, parts)
    values: dict[str, Any] = {
        "here": "runs",
        "names": names,
        "versions": [],
        "where": f"{visit.base}/runs",
        "view": None,
    }
    return await _list(visit, parts, values, visit.query("deployment") or None)


async def deployment_runs(visit: Visit, parts: Parts) -> Page:
    """Answer the runs of one deployment."""
    values = await header(visit, parts, "runs")
    values |= {
        "names": [],
        "versions": [v.number for v in values["view"].versions],
        "where": visit.of(visit.name, "runs"),
    }
    return await _list(visit, parts, values, visit.name)


async def _list(visit: Visit, parts: Parts, values: dict[str, Any], deployment: str | None) -> Page:
    asked = {name: visit.query(name) for name in (*_FIELDS, "deployment")}
    wanted = replace(_filter(visit.project, deployment, asked), only=visit.key.deployments)
    kind = asked["kind"] if asked["kind"] in {"sync", "async"} else None
    before = visit.query("before") or None
    try:
        found = await parts.run_lists.list(wanted, kind, PAGE, before)  # type: ignore[arg-type]
    except InvalidSetting:
        found = await parts.run_lists.list(wanted, kind, PAGE, None)  # type: ignore[arg-type]
    runs = found.runs
    kept = {name: value for name, value in asked.items() if value}
    values |= {
        "asked": asked,
        "filtered": {n: v for n, v in kept.items() if not (n == "deployment" and values["view"])},
        "runs": runs,
        "bars": _bars(runs),
        "next": urlencode({**kept, "before": found.next}) if found.next else "",
        "paged": before is not None,
        "times": TIMES,
        "durations": DURATIONS,
        "run_states": [state.value for state in RunState],
        "run_state": states.of_run,
    }
    return Page("runs.html", values, part=visit.part("live-block", "runs_live.html"))


def _filter(project: str, deployment: str | None, asked: Mapping[str, str]) -> RunFilter:
    state, length = asked["state"], TIMES.get(asked["time"])
    return RunFilter(
        project=project,
        deployment=deployment,
        states=(RunState(state),) if state in set(RunState) else (),
        version=int(asked["version"]) if asked["version"].isdecimal() else None,
        since=time.time() - length[1] if length else None,
        min_ms=float(asked["over"]) if asked["over"] in DURATIONS else None,
        code=asked["code"] or None,
    )


def _bars(runs: list[RunSummary]) -> dict[str, list[drawn.Bar]]:
    """Return for each run a bar as long as its time, against the longest on the page."""
    longest = max((run.run_time_ms or 0.0 for run in runs), default=0.0)
    if not longest:
        return {}
    return {
        run.run_id: [drawn.Bar("whole", 0.0, round(100 * run.run_time_ms / longest, 2))]
        for run in runs
        if run.run_time_ms
    }
