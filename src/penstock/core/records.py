"""What the server remembers, as frozen values. Times are seconds since the epoch (UTC, float)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from penstock.core.loggers import LoggerSpec
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

    Attributes:
        project: The one it acts in; None for an admin key, which may act in every project.
        deployments: The only deployments of the project it may act on; None for all of them.
        expires_at: When it stops working; None for never.
        last_used_at: When it was last used, known to about a minute; None for never.
        created_by: Prefix of the key that made it, or `"server"`.
        rate_per_s: Requests it may make a second; None for the server's limit.
    """

    key_id: str
    digest: bytes
    prefix: str
    scope: Scope
    project: str | None
    label: str
    created_at: float
    revoked_at: float | None = None
    deployments: tuple[str, ...] | None = None
    expires_at: float | None = None
    last_used_at: float | None = None
    created_by: str = ""
    rate_per_s: float | None = None

    def allows(self, scope: Scope, project: str, deployment: str | None = None) -> bool:
        """Whether this key may act with `scope` in `project`, or on one deployment of it."""
        return (
            self.revoked_at is None
            and scope in INCLUDED_SCOPES[self.scope]
            and (self.project is None or self.project == project)
            and (deployment is None or self.grants(deployment))
        )

    def grants(self, deployment: str) -> bool:
        """Whether this key may act on a deployment, as far as its name goes."""
        return self.deployments is None or deployment in self.deployments


@dataclass(frozen=True)
class VersionSettings:
    """How one version is served.

    Attributes:
        replicas: Worker processes: a fixed number, 1 or more, or `"auto"` for as many as help.
        timeout_s: Seconds a call may take from arrival to answer.
        max_batch: Most rows joined into one model call; 1 turns joining off.
        threads: Threads each model call may use.
        max_queue: Calls that may be in hand, waiting or worked on, before 429.
        auto_rollback: Whether the version before it takes over when this one fails in its first
            minutes.
        memory_limit_bytes: Private memory at which a worker is replaced; None for no limit.
        concurrency: Runs at once in one worker process, for functions that wait.
        loggers: Where its predictions are logged.
        network: What the functions may reach: `"all"`, or `"none"`.
        secrets: Names of the project's secrets that its workers are given.
        hardware: `"CPU"`, `"GPU"`, or `"auto"`: a GPU where there is one and a model can use it.
        gpu: Devices that one worker gets when it runs on GPUs.
        environment: Key of the environment its workers run in; empty: the server's own.
    """

    replicas: int | Literal["auto"] = "auto"
    timeout_s: float = 180.0
    max_batch: int = 256
    threads: int = 1
    max_queue: int = 1024
    auto_rollback: bool = True
    memory_limit_bytes: int | None = None
    concurrency: int = 1
    loggers: tuple[LoggerSpec, ...] = ()
    network: Literal["all", "none"] = "all"
    secrets: tuple[str, ...] = ()
    hardware: str = "auto"
    gpu: int = 1
    environment: str = ""


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
class Scaling:
    """How many replicas a deployment may have, whichever version serves. None: not said.

    Attributes:
        min_replicas: Fewest; 0 lets it sleep until it is called.
        max_replicas: Most, 1 or more.
        cooldown_s: Seconds after the last call until there are `min_replicas` again.
    """

    min_replicas: int | None = None
    max_replicas: int | None = None
    cooldown_s: float | None = None


@dataclass(frozen=True)
class DeploymentRecord:
    """A name in a project with one endpoint. `active` is the serving version's number, if any."""

    project: str
    name: str
    active: int | None
    created_at: float
    updated_at: float
    versions: tuple[VersionRecord, ...] = field(default=())
    scaling: Scaling = Scaling()
