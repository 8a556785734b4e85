"""The first page: every deployment of a project, what needs attention, totals. Also `go to`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from penstock.control.insight.traffic_views import Figures, OverviewRow
from penstock.control.status import DeploymentView
from penstock.core.names import is_run_id
from penstock.dashboard import drawn, states
from penstock.dashboard.attention import alerts_of, error_share
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

#: Ranges to choose from: the button's word, the time of the lines, the time of the figures.
RANGES = {
    "now": ("5 min", "Last 15 min", "five minutes"),
    "1h": ("1 h", "Last hour", "hour"),
    "24h": ("24 h", "Last 24 h", "24 hours"),
    "7d": ("7 d", "Last 7 days", "seven days"),
}

#: Orders to choose from, with the words for them: those of the heads of the table, and the first.
SORTS = {
    "": "State first",
    "name": "By name",
    "calls": "Most calls first",
    "p99": "Slowest p99 first",
    "errors": "Most errors first",
}

_ORDER = {"failed": 0, "degraded": 1, "starting": 2, "serving": 3, "idle": 4, "stopped": 5}


class Row(NamedTuple):
    """One deployment in the table."""

    name: str
    state: states.Shown
    models: list[str]
    version: str
    since: float | None
    figures: Figures | None
    spark: drawn.Spark | None
    why: str
    kinds: list[drawn.Bar]
    error_share: float | None
    ready: int
    wanted: int
    memory: int | None
    words: str


async def overview(visit: Visit, parts: Parts) -> Page:
    """Answer the table of deployments, or what to do when there is none."""
    views = [v for v in await parts.deployments.list(visit.project) if visit.sees(v.name)]
    seen = parts.series.overview(visit.project, visit.key.deployments)
    by_name = {row.deployment: row for row in seen.deployments}
    chosen = visit.query("range") if visit.query("range") in RANGES else "now"
    shown, shown_by_name = seen, by_name
    if chosen != "now":
        shown = await parts.series.overview_of(visit.project, chosen, visit.key.deployments)
        shown_by_name = {row.deployment: row for row in shown.deployments}
    pids = [r.pid for view in views for r in view.replicas]
    memory = await parts.memory.private(pids)
    rows = [_row(v, by_name.get(v.name), shown_by_name.get(v.name), parts, memory) for v in views]
    sort = visit.query("sort") if visit.query("sort") in SORTS else ""
    _sort(rows, sort)
    alerts, more = await alerts_of(visit, parts, views, by_name)
    values: dict[str, Any] = {
        "here": "deployments",
        "rows": rows,
        "sort": sort,
        "sorts": SORTS,
        "chosen": chosen,
        "ranges": RANGES,
        "asked": urlencode({"range": chosen, "sort": sort}),
        "alerts": alerts,
        "more_alerts": more,
        "total": shown.total,
        "shares": shown.kinds,
        "shares_bars": drawn.share_bars(shown.kinds),
        "line": drawn.spark(
            [sum(v) for v in zip(*(r.calls for r in shown.deployments), strict=True)]
        ),
        "in_hand": seen.in_hand,
        "ready": sum(row.ready for row in rows),
        "wanted": sum(row.wanted for row in rows),
        "memory": sum(memory.values()) if memory else None,
        "machine_memory": parts.memory.machine_bytes(),
    }
    if not views:
        return await start(visit, parts)
    return Page("overview.html", values, part=visit.part("live-block", "overview_live.html"))


#: A first flow to copy; a test runs it.
_FIRST = """from penstock import deploy, model_type

def pre(data):                      # your own function, optional
    return [[float(x) for x in row] for row in data]

endpoint = deploy([(model_type.SKLEARN, "model.joblib", {"pre": pre})], "my-first-flow")
print(endpoint.predict([[5.1, 3.5, 1.4, 0.2]]))"""

_FRAMEWORKS = ("torch", "xgboost-cpu", "xgboost", "scikit-learn", "onnxruntime", "transformers")


async def start(visit: Visit, parts: Parts) -> Page:
    """Answer what to do to deploy a flow."""
    views = await parts.deployments.list(visit.project)
    installed = await parts.installed()
    found = [(n, installed.packages[n]) for n in _FRAMEWORKS if n in installed.packages]
    values = {
        "here": "deployments",
        "rows": views,
        "installed": installed,
        "frameworks": ", ".join(f"{n} {'.'.join(v.split('.')[:2])}" for n, v in found),
        "memory_free": parts.memory.available_bytes(),
        "machine_memory": parts.memory.machine_bytes(),
        "cores": parts.memory.cores(),
        "first_flow": _FIRST,
    }
    return Page("empty.html", values)


def _row(
    view: DeploymentView,
    lately: OverviewRow | None,
    seen: OverviewRow | None,
    parts: Parts,
    memory: Mapping[int, int],
) -> Row:
    """Return a deployment's row: its state by what was `lately`, its figures as `seen`."""
    active = next((v for v in view.versions if v.active), None)
    newest = active or next(iter(view.versions), None)
    figures = seen.now if seen is not None else None
    state = states.of_deployment(view, error_share(lately.now if lately is not None else None))
    scaling = view.scaling
    models = [_family(s.model_type) for s in newest.stages] if newest else []
    mine = [memory[r.pid] for r in view.replicas if r.pid in memory]
    since = None
    if newest is not None:
        since = (newest.ready_at or newest.created_at) if active else newest.created_at
    return Row(
        name=view.name,
        state=state,
        models=models,
        version=f"v{active.number}" if active else "",
        since=since,
        figures=figures,
        spark=drawn.spark(seen.calls, seen.errors) if seen is not None else None,
        why=_why(view, state.kind, parts),
        kinds=drawn.share_bars(seen.kinds) if seen is not None else [],
        error_share=error_share(figures),
        ready=sum(r.state == "ready" for r in view.replicas),
        wanted=max((scaling.wanted or scaling.min_replicas) if scaling else 0, len(view.replicas)),
        memory=sum(mine) if view.replicas else (0 if active else None),
        words=" ".join([view.name, state.word, *models]).lower(),
    )


def _family(model_type: str) -> str:
    """Return the framework of a model type: `xgboost` of `xgboost_classifier`."""
    return model_type.lower().partition("_")[0]


def _why(view: DeploymentView, kind: str, parts: Parts) -> str:
    if kind == "starting":
        step = parts.builds.step(view.project, view.name)
        return (step or "starting").rstrip(".")
    if kind == "idle":
        return "wakes on call"
    if kind == "failed" and view.active is None:
        return "no version ever became ready"
    if kind == "failed":
        return "its replicas do not start"
    return "no calls in the last hour"


def _sort(rows: list[Row], by: str) -> None:
    """Order rows in place: what needs attention first, then by calls; or by one column."""

    def calls(row: Row) -> float:
        return row.figures.calls_per_s if row.figures is not None else 0.0

    if by == "name":
        rows.sort(key=lambda row: row.name)
    elif by == "calls":
        rows.sort(key=calls, reverse=True)
    elif by == "errors":
        rows.sort(key=lambda row: row.error_share or -1.0, reverse=True)
    elif by == "p99":
        rows.sort(key=lambda r: (r.figures.p99_ms or -1.0) if r.figures else -1.0, reverse=True)
    else:
        rows.sort(key=lambda row: (_ORDER.get(row.state.kind, 6), -calls(row), row.name))


async def go(visit: Visit, parts: Parts) -> Page | Go:
    """Go to a deployment or a run by its name or id; list what fits when it is not one."""
    asked = visit.query("q").strip()
    if is_run_id(asked):
        return Go(f"{visit.base}/runs/{asked}")
    names = await names_of(visit, parts)
    fitting = [name for name in names if asked.lower() in name.lower()]
    if asked in names:
        return Go(visit.of(asked))
    if len(fitting) == 1 and asked:
        return Go(visit.of(fitting[0]))
    return Page("go.html", {"asked": asked, "names": fitting})


async def names_of(visit: Visit, parts: Parts) -> list[str]:
    """Answer the names of the deployments, for the field that goes to one."""
    views = await parts.deployments.list(visit.project)
    return [view.name for view in views if visit.sees(view.name)]


async def projects(visit: Visit, parts: Parts) -> Page:
    """Answer the projects that an admin key may look at."""
    found = [visit.project]
    if visit.key.project is None:
        found = [project.name for project in await parts.projects.list()]
    return Page("projects.html", {"projects": found})
