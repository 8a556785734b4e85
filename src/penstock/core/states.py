"""States of deployments, versions and runs, and which moves between them are legal."""

from __future__ import annotations

from enum import Enum

from penstock.core.errors import Conflict


class VersionState(str, Enum):
    """Where a version stands.

    `deploying` until it loaded and answered its example; `ready` when it may serve (at most one
    ready version of a deployment is the active one); `failed` when it never became ready;
    `deleted` when its bundle was given up.
    """

    DEPLOYING = "deploying"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


VERSION_MOVES: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DEPLOYING: frozenset({VersionState.READY, VersionState.FAILED}),
    VersionState.READY: frozenset({VersionState.DELETED}),
    VersionState.FAILED: frozenset({VersionState.DELETED}),
    VersionState.DELETED: frozenset(),
}


class DeploymentState(str, Enum):
    """What a caller of a deployment may expect.

    `active`: a replica is ready. `cold`: none runs, the first call starts one. `deploying`: the
    first version is not ready yet. `starting`: replicas are being started. `deleted`, `unknown`.
    """

    ACTIVE = "active"
    COLD = "cold"
    DEPLOYING = "deploying"
    STARTING = "starting"
    DELETED = "deleted"
    UNKNOWN = "unknown"


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
