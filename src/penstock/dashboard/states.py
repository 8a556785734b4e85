"""States as the pages show them: the shape's name and the word, for deployments, versions, runs."""

from __future__ import annotations

from typing import NamedTuple

from penstock.control.status import DeploymentView, VersionView
from penstock.core.states import DeploymentState, VersionState

#: From this share of failed calls on, a deployment that serves is called degraded.
DEGRADED_SHARE = 0.01


class Shown(NamedTuple):
    """A shape (see `macros.html`) and a word."""

    kind: str
    word: str


_DEPLOYMENTS = {
    DeploymentState.ACTIVE: Shown("serving", "Serving"),
    DeploymentState.STARTING: Shown("starting", "Starting"),
    DeploymentState.DEPLOYING: Shown("starting", "Starting"),
    DeploymentState.COLD: Shown("idle", "Idle"),
    DeploymentState.DELETED: Shown("stopped", "Stopped"),
    DeploymentState.UNKNOWN: Shown("failed", "Failed"),
}

_VERSIONS = {
    VersionState.DEPLOYING: Shown("starting", "Deploying"),
    VersionState.READY: Shown("passive", "Ready"),
    VersionState.FAILED: Shown("never", "Never ready"),
    VersionState.WITHDRAWN: Shown("withdrawn", "Withdrawn"),
    VersionState.DELETED: Shown("deleted", "Deleted"),
}

_RUNS = {
    "queued": Shown("queued", "Queued"),
    "running": Shown("running", "Running"),
    "succeeded": Shown("succeeded", "Succeeded"),
    "failed": Shown("failed", "Failed"),
    "cancelled": Shown("cancelled", "Cancelled"),
}

_REPLICAS = {
    "ready": Shown("ready", "Ready"),
    "starting": Shown("starting", "Starting"),
    "loading": Shown("starting", "Starting"),
    "stopping": Shown("draining", "Draining"),
}


def of_deployment(view: DeploymentView, error_share: float | None = None) -> Shown:
    """Return the state of a deployment; `error_share` is that of its calls of late."""
    if view.problem or view.quarantine:
        return Shown("failed", "Failed")
    if view.state is DeploymentState.ACTIVE and (error_share or 0.0) >= DEGRADED_SHARE:
        return Shown("degraded", "Degraded")
    return _DEPLOYMENTS[view.state]


def of_version(version: VersionView) -> Shown:
    """Return the state of a version."""
    return Shown("active", "Active") if version.active else _VERSIONS[version.state]


def of_run(state: str) -> Shown:
    """Return the state of a run."""
    return _RUNS.get(state, Shown("passive", state))


def of_replica(state: str) -> Shown:
    """Return the state of a replica."""
    return _REPLICAS.get(state, Shown("stopped", state.capitalize()))


def of_switch(state: str) -> Shown:
    """Return the state of joining calls: on, proving or off."""
    known = {"on": Shown("on", "On"), "unproven": Shown("proving", "Proving")}
    return known.get(state, Shown("off", "Off"))
