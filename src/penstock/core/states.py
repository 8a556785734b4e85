"""States of deployments and versions, and which moves between them are legal."""

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
