"""What needs attention: deployments that do not run, and those whose calls fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.control.insight.traffic_views import Figures, OverviewRow
from penstock.control.status import DeploymentView
from penstock.core.errors import NotFound
from penstock.core.insight_records import RunFilter
from penstock.core.states import RunState, VersionState
from penstock.dashboard import states
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit

#: How many lines are shown before "and 4 more".
_SHOWN = 3


class Alert(NamedTuple):
    """What needs attention: the cause first, and one action."""

    tone: str
    name: str
    text: str
    detail: str
    link: str
    link_word: str
    action: str = ""
    action_word: str = ""


async def alerts_of(
    visit: Visit,
    parts: Parts,
    views: Sequence[DeploymentView],
    seen: Mapping[str, OverviewRow],
) -> tuple[list[Alert], int]:
    """Return the alerts to show, what fails first, and how many there are besides.

    Args:
        visit: Who looks.
        parts: The use cases.
        views: The deployments.
        seen: What each did in the last five minutes.
    """
    found: list[Alert] = []
    for view in views:
        row = seen.get(view.name)
        alert = _failing(view, visit) or _degraded(view, row, visit)
        if alert is not None:
            found.append(alert)
    found.sort(key=lambda alert: alert.tone != "fail")
    shown = [await _with_cause(visit, parts, alert) for alert in found[:_SHOWN]]
    return shown, len(found) - _SHOWN


async def _with_cause(visit: Visit, parts: Parts, alert: Alert) -> Alert:
    """Return the alert of a deployment whose calls fail, with what the newest one failed for."""
    if alert.tone == "fail":
        return alert
    newest = RunFilter(visit.project, alert.name, (RunState.FAILED,))
    listed = await parts.run_lists.list(newest, "sync", 1, None)
    if not listed.runs:
        return alert
    try:
        run = await parts.details.get(visit.project, listed.runs[0].run_id)
    except NotFound:
        return alert
    error = run.error or {}
    if not error.get("stage"):
        return alert
    raised = error.get("type") or str(error.get("code", "")).replace("_", " ")
    where = f"{error['function']} of " if error.get("function") else ""
    return alert._replace(detail=f"{raised} in {where}stage {error['stage']}.")


def _failing(view: DeploymentView, visit: Visit) -> Alert | None:
    if view.problem or view.quarantine:
        detail = (
            view.quarantine.reason
            if view.quarantine
            else str((view.problem or {}).get("message", ""))
        )
        return Alert("fail", view.name, " does not run. ", detail, visit.of(view.name), "Look")
    newest = next(iter(view.versions), None)
    if view.active is None and newest is not None and newest.state is VersionState.FAILED:
        detail = str((newest.failure or {}).get("message", ""))
        link = visit.of(view.name, "builds", str(newest.number))
        return Alert("fail", view.name, " has no ready version. ", detail, link, "Build log")
    return None


def _degraded(view: DeploymentView, row: OverviewRow | None, visit: Visit) -> Alert | None:
    share = error_share(row.now if row is not None else None)
    if share is None or share < states.DEGRADED_SHARE or row is None:
        return None
    code = max(row.now.codes, key=lambda c: row.now.codes[c], default="")
    before = before_active(view)
    runs = f"{visit.of(view.name, 'runs')}?state=failed"
    action = visit.of(view.name, "versions", str(before), "activate") if before else ""
    return Alert(
        "warn",
        view.name,
        f" fails {share * 100:.2f} % of calls of the last five minutes. ",
        f"Mostly {code}." if code else "",
        runs,
        "Failed runs",
        action,
        f"Roll back to v{before}" if before else "",
    )


def error_share(figures: Figures | None) -> float | None:
    """Return the share of calls that failed; None when there were none."""
    if figures is None or not figures.calls:
        return None
    return figures.errors / figures.calls


def before_active(view: DeploymentView) -> int | None:
    """Return the newest ready version before the active one, if there is one."""
    return next(
        (
            v.number
            for v in view.versions
            if view.active is not None and v.number < view.active and v.state is VersionState.READY
        ),
        None,
    )
