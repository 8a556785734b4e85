"""What the server remembers, as frozen values. Times are seconds since the epoch (UTC, float)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from penstock.core.states import VersionState


class Scope(str, Enum):
    """What a key may do in its project. A deploy key may also predict and read."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    PREDICT = "predict"
    READ = "read"


#: What each scope includes.
INCLUDED_SCOPES: dict[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset(Scope),
    Scope.DEPLOY: frozenset({Scope.DEPLOY, Scope.PREDICT, Scope.READ}),
    Scope.PREDICT: frozenset({Scope.PREDICT}),
    Scope.READ: frozenset({Scope.READ}),
}


@dataclass(frozen=True)
class ProjectRecord:
    """A project: the owner of deployments, keys and memory."""

    name: str
    created_at: float


@dataclass(frozen=True)
class KeyRecord:
    """An API key as the server keeps it: never the key itself, only its SHA-256.

    `project` is None for an admin key, which may act in every project.
    """

    key_id: str
    digest: bytes
    prefix: str
    scope: Scope
    project: str | None
    label: str
    created_at: float
    revoked_at: float | None = None

    def allows(self, scope: Scope, project: str) -> bool:
        """Whether this key may act with `scope` in `project`."""
        return (
            self.revoked_at is None
            and scope in INCLUDED_SCOPES[self.scope]
            and (self.project is None or self.project == project)
        )


@dataclass(frozen=True)
class VersionSettings:
    """How one version is served.

    Attributes:
        replicas: Worker processes, 1 or more.
        timeout_s: Seconds a call may take from arrival to answer.
        max_batch: Most rows joined into one model call; 1 turns joining off.
        threads: Threads each model call may use.
        max_queue: Calls that may wait for a free worker before 429.
    """

    replicas: int = 1
    timeout_s: float = 180.0
    max_batch: int = 64
    threads: int = 1
    max_queue: int = 1024


@dataclass(frozen=True)
class VersionRecord:
    """One immutable version of a deployment."""

    project: str
    deployment: str
    number: int
    state: VersionState
    manifest: bytes
    settings: VersionSettings
    size_bytes: int
    created_at: float
    created_by: str
    ready_at: float | None = None
    failure: dict[str, Any] | None = None


@dataclass(frozen=True)
class DeploymentRecord:
    """A name in a project with one endpoint. `active` is the serving version's number, if any."""

    project: str
    name: str
    active: int | None
    created_at: float
    updated_at: float
    versions: tuple[VersionRecord, ...] = field(default=())
