"""One deployment: its pipe, traffic, batching, replicas, versions, and what may be done to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.control.insight.traffic_views import Traffic, VersionFigures
from penstock.control.status import DeploymentView, VersionView
from penstock.core.errors import PenstockError
from penstock.core.records import Scope
from penstock.core.states import VersionState
from penstock.dashboard import drawn, states
from penstock.dashboard.attention import before_active
from penstock.dashboard.parts import Parts
from penstock.dashboard.pipe import Pipe, pipe_of
from penstock.dashboard.snippets import snippets
from penstock.dashboard.visit import Go, Page, Visit

#: Names of the ranges of time, with what the buttons say.
RANGES = {"15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 d"}

#: Versions in the table before "Show …".
_VERSIONS = 6


class VersionRow(NamedTuple):
    """A version in the table. `action` is what its button says, empty for none."""

    version: VersionView
    state: states.Shown
    figures: VersionFigures | None
    note: str
    before: int | None
    action: str
    undo: int | None


def tabs(view: DeploymentView, visit: Visit) -> list[tuple[str, str, str, str]]:
    """Return the tabs of a deployment: name, address, word, count."""
    count = str(len(view.versions))
    return [
        ("traffic", visit.of(view.name), "Traffic", ""),
        ("runs", visit.of(view.name, "runs"), "Runs", ""),
        ("monitoring", visit.of(view.name, "monitoring"), "Predictions", ""),
        ("versions", visit.of(view.name, "versions"), "Versions", count),
        ("code", visit.of(view.name, "code"), "Code", ""),
        ("builds", visit.of(view.name, "builds"), "Builds", ""),
        ("playground", visit.of(view.name, "playground"), "Playground", ""),
        ("settings", visit.of(view.name, "settings"), "Settings", ""),
    ]


async def header(visit: Visit, parts: Parts, tab: str) -> dict[str, Any]:
    """Return what the head of every page of a deployment shows. Raises `NotFound`."""
    view = await parts.deployments.get(visit.project, visit.name, with_traceback=visit.may_deploy)
    seen = parts.series.overview(visit.project, visit.key.deployments)
    row = next((row for row in seen.deployments if row.deployment == view.name), None)
    share = row.now.errors / row.now.calls if row is not None and row.now.calls else None
    active = next((v for v in view.versions if v.active), None)
    return {
        "here": "deployments",
        "tab": tab,
        "tabs": tabs(view, visit),
        "view": view,
        "state_shown": states.of_deployment(view, share),
        "active": active,
        "shown": active or next(iter(view.versions), None),
        "step": parts.builds.step(visit.project, view.name),
        "before": before_active(view),
    }


async def deployment(visit: Visit, parts: Parts) -> Page:
    """Answer the page of traffic."""
    values = await header(visit, parts, "traffic")
    view: DeploymentView = values["view"]
    wanted = visit.query("range")
    if wanted not in RANGES:
        wanted = "15m" if time.time() - view.created_at < 900 else "1h"
    traffic = await parts.series.traffic(visit.project, view.name, None, wanted)
    shown: VersionView | None = values["shown"]
    facts = stage_facts(view)
    memory = await parts.memory.private([r.pid for r in view.replicas])
    loads = await parts.loads.look(view.replicas)
    example = await example_of(visit, parts, shown)
    values |= {
        "chosen": wanted,
        "ranges": RANGES,
        "traffic": traffic,
        "pipe": _pipe(shown, traffic, values["state_shown"].kind, facts),
        "batching": _batching(traffic, facts),
        "replicas": view.replicas,
        "replica_state": states.of_replica,
        "memory": memory,
        "loads": loads,
        "snippets": snippets(view.endpoint, example, uses_files=bool(shown and shown.uses_files)),
        "rows": version_rows(view, traffic, visit)[:_VERSIONS],
        "hidden_versions": max(0, len(view.versions) - _VERSIONS),
    }
    return Page("deployment.html", values, part=visit.part("live-block", "deployment_live.html"))


async def example_of(
    visit: Visit, parts: Parts, shown: VersionView | None
) -> tuple[str, bytes] | None:
    """Return media type and body of a version's example, if it has one that can be read."""
    if shown is None or not shown.has_example:
        return None
    try:
        return await parts.versions.example(visit.project, visit.name, shown.number)
    except PenstockError:
        return None


def stage_facts(view: DeploymentView) -> list[Mapping[str, Any]]:
    """Return what a replica says of its stages."""
    told = (replica.facts.get("stages") for replica in view.replicas)
    return next((stages for stages in told if isinstance(stages, list)), [])


def _pipe(
    shown: VersionView | None, traffic: Traffic, state: str, facts: Sequence[Mapping[str, Any]]
) -> Pipe | None:
    if shown is None:
        return None
    means = {
        (part.stage, part.kind): part.total_mean_ms
        for part in traffic.parts
        if part.total_mean_ms is not None
    }
    wet = state in {"serving", "degraded"}
    return pipe_of(shown, means, state="serving" if wet else "dry", facts=facts)


class Joining(NamedTuple):
    """Whether the calls of one stage are joined, and how many rows the model's calls had."""

    stage: int
    state: states.Shown
    reason: str
    columns: list[drawn.Column]
    mean_rows: float | None


def _batching(traffic: Traffic, facts: Sequence[Mapping[str, Any]]) -> list[Joining]:
    seen = {batch.stage: batch for batch in traffic.batches}
    found = []
    for fact in facts:
        stage, told = int(fact.get("stage", 0)), fact.get("batching") or {}
        batch = seen.get(stage)
        columns = drawn.columns(drawn.row_groups(batch.groups)) if batch is not None else []
        state = states.of_switch(str(told.get("state", "off")))
        reason = str(told.get("reason") or _reason(state.kind))
        found.append(Joining(stage, state, reason, columns, batch.mean_rows if batch else None))
    return found


def _reason(kind: str) -> str:
    if kind == "on":
        return "Calls that waited together gave the same rows as alone."
    return "Nothing is known yet."


def version_rows(view: DeploymentView, traffic: Traffic, visit: Visit) -> list[VersionRow]:
    """Return the versions for the table, newest first."""
    figures = {found.version: found for found in traffic.versions}
    numbers = [v.number for v in view.versions]
    rows = []
    for index, version in enumerate(view.versions):
        older = next((n for n in numbers[index + 1 :]), None)
        previous = view.versions[index + 1] if index + 1 < len(view.versions) else None
        rows.append(
            VersionRow(
                version,
                states.of_version(version),
                figures.get(version.number),
                _note(version, previous),
                older,
                _action(version, view) if visit.may_deploy else "",
                view.active,
            )
        )
    return rows


def _action(version: VersionView, view: DeploymentView) -> str:
    if version.active or version.state not in {VersionState.READY, VersionState.WITHDRAWN}:
        return ""
    if version.number == before_active(view):
        return f"Roll back to v{version.number}"
    return "Activate"


def _note(version: VersionView, previous: VersionView | None) -> str:
    if version.failure:
        return str(version.failure.get("message", ""))
    if previous is None:
        return "first version"
    changes = list(_changes(version, previous))
    return "; ".join(changes[:3]) if changes else "the same models and settings, deployed again"


def _changes(version: VersionView, previous: VersionView) -> Any:
    """Yield what differs between two versions, as far as their views tell."""
    if len(version.stages) != len(previous.stages):
        yield f"{len(version.stages)} stages, was {len(previous.stages)}"
        return
    for number, (new, old) in enumerate(zip(version.stages, previous.stages, strict=True), 1):
        if (new.model, new.size_bytes) != (old.model, old.size_bytes):
            yield f"model of stage {number} is {new.model}"
        for role in ("pre", "post"):
            mine, theirs = getattr(new, role), getattr(old, role)
            if (mine.name if mine else None) != (theirs.name if theirs else None):
                yield (
                    f"{role} of stage {number} is {mine.name}"
                    if mine
                    else f"no {role} in stage {number}"
                )
    if version.requirements != previous.requirements:
        yield "other requirements"
    if version.settings != previous.settings:
        yield "other settings"
    if version.interpreter.version != previous.interpreter.version:
        yield f"Python {version.interpreter.version}"
    if version.size_bytes != previous.size_bytes:
        yield "changed code or example"


async def series(visit: Visit, parts: Parts) -> Any:
    """Answer the figures of the charts as JSON."""
    import msgspec

    wanted = visit.query("range", "1h")
    traffic = await parts.series.traffic(
        visit.project, visit.name, None, wanted if wanted in RANGES else "1h"
    )
    return msgspec.to_builtins(traffic)


async def versions(visit: Visit, parts: Parts) -> Page:
    """Answer the page of all versions."""
    values = await header(visit, parts, "versions")
    traffic = await parts.series.traffic(visit.project, visit.name, None, "24h")
    values["rows"] = version_rows(values["view"], traffic, visit)
    return Page("versions.html", values)


async def activate(visit: Visit, parts: Parts) -> Go:
    """Make a version the active one: roll back, or forward."""
    visit.require(Scope.DEPLOY)
    number = int(visit.request.path_params["number"])
    before = (await parts.deployments.get(visit.project, visit.name)).active
    back = visit.of(visit.name)
    try:
        await parts.versions.activate(visit.project, visit.name, number)
    except PenstockError as error:
        kept = f" v{before} keeps serving." if before else ""
        return Go(back, f"v{number} is not active: {error.message}{kept}", failed=True)
    undo = visit.of(visit.name, "versions", str(before), "activate") if before else ""
    drained = f" v{before} drained, no call failed." if before else ""
    return Go(back, f"v{number} is active.{drained}", undo if before != number else "")


async def delete_version(visit: Visit, parts: Parts) -> Go:
    """Give up a version that does not serve."""
    visit.require(Scope.DEPLOY)
    number = int(visit.request.path_params["number"])
    await parts.versions.delete(visit.project, visit.name, number)
    return Go(visit.of(visit.name, "versions"), f"v{number} is deleted.")


async def delete(visit: Visit, parts: Parts) -> Go:
    """Delete the deployment, if its name was typed."""
    visit.require(Scope.DEPLOY)
    fields = await visit.form()
    if fields.get("typed") != visit.name:
        return Go(visit.of(visit.name), f"Type {visit.name} to delete it.", failed=True)
    await parts.deployments.delete(visit.project, visit.name)
    return Go(visit.base, f"{visit.name} is deleted.")
