"""States of deployments, versions and runs, and which moves between them are legal."""

from __future__ import annotations

from enum import Enum

from penstock.core.errors import Conflict


class VersionState(str, Enum):
    """Where a version stands.

    `deploying` until it loaded and answered its example; `ready` when it may serve (at most one
    ready version of a deployment is the active one); `failed` when it never became ready;
    `withdrawn` when it served, failed in its first minutes and the version before it took over
    again (it may be activated by hand); `deleted` when its bundle was given up.
    """

    DEPLOYING = "deploying"
    READY = "ready"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    DELETED = "deleted"


VERSION_MOVES: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DEPLOYING: frozenset({VersionState.READY, VersionState.FAILED}),
    VersionState.READY: frozenset({VersionState.WITHDRAWN, VersionState.DELETED}),
    VersionState.WITHDRAWN: frozenset({VersionState.READY, VersionState.DELETED}),
    VersionState.FAILED: frozenset({VersionState.DELETED}),
    VersionState.DELETED: frozenset(),
}


class DeploymentState(str, Enum):
    """What a caller of a deployment may expect.

    `active`: a replica is ready. `cold`: none runs, the first call starts one. `deploying`: the
    first version is not ready yet. `starting`: a version is there and no replica is ready yet, or
    none is any more. `deleted`: the name is free again. `unknown`: no version ever became ready.
    """

    ACTIVE = "active"
    COLD = "cold"
    DEPLOYING = "deploying"
    STARTING = "starting"
    DELETED = "deleted"
    UNKNOWN = "unknown"


#: What may follow what. The state is not stored: it is what `deployment_state` finds.
DEPLOYMENT_MOVES: dict[DeploymentState, frozenset[DeploymentState]] = {
    DeploymentState.UNKNOWN: frozenset({DeploymentState.DEPLOYING, DeploymentState.DELETED}),
    DeploymentState.DEPLOYING: frozenset(
        {DeploymentState.ACTIVE, DeploymentState.UNKNOWN, DeploymentState.DELETED}
    ),
    DeploymentState.STARTING: frozenset(
        {DeploymentState.ACTIVE, DeploymentState.COLD, DeploymentState.DELETED}
    ),
    DeploymentState.ACTIVE: frozenset(
        {DeploymentState.STARTING, DeploymentState.COLD, DeploymentState.DELETED}
    ),
    DeploymentState.COLD: frozenset(
        {DeploymentState.STARTING, DeploymentState.ACTIVE, DeploymentState.DELETED}
    ),
    DeploymentState.DELETED: frozenset({DeploymentState.DEPLOYING}),
}


def deployment_state(
    *, has_active: bool, deploying: bool, ready: bool, starting: bool
) -> DeploymentState:
    """Return the state of a deployment that is not deleted.

    Args:
        has_active: Whether a version is the active one.
        deploying: Whether a version is being deployed.
        ready: Whether a replica of the active version is ready.
        starting: Whether replicas of it are being started, or wait to be started again.
    """
    if not has_active:
        return DeploymentState.DEPLOYING if deploying else DeploymentState.UNKNOWN
    if ready:
        return DeploymentState.ACTIVE
    return DeploymentState.STARTING if starting else DeploymentState.COLD


def check_version_move(old: VersionState, new: VersionState) -> None:
    """Raise `Conflict` unless a version may go from `old` to `new`."""
    if new not in VERSION_MOVES[old]:
        raise Conflict(f"A {old.value} version cannot become {new.value}.")


class RunState(str, Enum):
    """Where an asynchronous run stands. The last three are terminal: they never change."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: A running run goes back to `queued` when its attempt ended through no fault of its own.
RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {RunState.QUEUED, RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

TERMINAL_RUN_STATES = frozenset(state for state, moves in RUN_MOVES.items() if not moves)


def states_before(new: RunState) -> frozenset[RunState]:
    """Return the states from which a run may become `new`."""
    return frozenset(old for old, moves in RUN_MOVES.items() if new in moves)
