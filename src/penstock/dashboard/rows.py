"""What the list of deployments shows of one of them. Used by `penstock.dashboard.pages`."""

from __future__ import annotations

from typing import NamedTuple

from penstock.control.status import DeploymentView, VersionView
from penstock.core.states import DeploymentState, VersionState

_WORDS = {
    DeploymentState.ACTIVE: "Serving",
    DeploymentState.STARTING: "Starting",
    DeploymentState.DEPLOYING: "Starting",
    DeploymentState.COLD: "Idle",
    DeploymentState.DELETED: "Stopped",
    DeploymentState.UNKNOWN: "Failed",
}


class Row(NamedTuple):
    """One deployment in words and figures. `calls` and `errors` count since it started."""

    name: str
    project: str
    state: str
    stages: str
    active: str
    versions: list[VersionView]
    calls: str
    errors: str
    replicas: str
    endpoint: str
    curl: str
    problem: str


def row_of(deployment: DeploymentView) -> Row:
    """Return what to show of `deployment`; "–" stands for what was not measured."""
    active = next((v for v in deployment.versions if v.active), None)
    newest = active or next(iter(deployment.versions), None)
    stages = [s.model_type for s in newest.stages] if newest else []
    ready = sum(r.state == "ready" for r in deployment.replicas)
    return Row(
        name=deployment.name,
        project=deployment.project,
        state="Failed" if deployment.problem else _WORDS[deployment.state],
        stages=" then ".join(stages),
        active=f"v{active.number}" if active else "–",
        versions=deployment.versions,
        calls=_count(deployment.calls),
        errors=_count(deployment.errors),
        replicas=f"{ready}/{active.settings.replicas}" if active else "–",
        endpoint=deployment.endpoint,
        curl=_curl(deployment.endpoint),
        problem=_problem(deployment),
    )


def _problem(deployment: DeploymentView) -> str:
    if deployment.problem:
        return str(deployment.problem["message"])
    newest = next(iter(deployment.versions), None)
    if newest is not None and newest.state is VersionState.FAILED and newest.failure:
        return f"v{newest.number}: {newest.failure.get('message', '')}"
    return ""


def _count(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _curl(endpoint: str) -> str:
    return (
        f'curl {endpoint} -H "Authorization: $PENSTOCK_API_KEY" '
        "-H 'Content-Type: application/json' -d '[...]'"
    )
