"""Versions and deployments as the outside sees them.

Plain frozen structs: the HTTP routes write them as JSON, OpenAPI is generated from their types and
the dashboard shows them. Made from records and running pools by the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from penstock.codec.bundle import (
    FunctionEntry,
    Interpreter,
    Manifest,
    StageEntry,
    read_manifest,
)
from penstock.control.concealed import told_to_readers
from penstock.control.predict import Tally
from penstock.core.records import DeploymentRecord, VersionRecord, VersionSettings
from penstock.core.states import DeploymentState, VersionState, deployment_state
from penstock.engine.base import PoolHealth, ReplicaStatus, Scale
from penstock.engine.sandbox.state import SandboxState

#: How workers are confined on this server, for the outside.
SandboxView = SandboxState

#: Replicas that die in a row, none being ready, before the version is called quarantined.
QUARANTINE_DEATHS = 3


class FunctionView(msgspec.Struct, frozen=True):
    """A processing function. `arguments` is how many it is called with."""

    name: str
    arguments: int
    imports: list[str] = []


class StageView(msgspec.Struct, frozen=True):
    """One stage of a version.

    `runs_code` says whether loading the model's files can run code; null for a function.
    A stage with `branches`, by name, is a `parallel` or a `switch`. `combine` is a function, or the
    name of a ready combination.
    """

    model_type: str
    model: str
    size_bytes: int
    pre: FunctionView | None = None
    post: FunctionView | None = None
    setup: FunctionView | None = None
    choose: FunctionView | None = None
    combine: FunctionView | str | None = None
    branches: dict[str, list[StageView]] = {}
    runs_code: bool | None = None


class VersionView(msgspec.Struct, frozen=True):
    """One version. Times are seconds since the epoch (UTC).

    `failure` says why it is not ready; with the traceback only for keys that may deploy.
    """

    number: int
    state: VersionState
    active: bool
    created_at: float
    created_by: str
    ready_at: float | None
    size_bytes: int
    settings: VersionSettings
    stages: list[StageView]
    interpreter: Interpreter
    requirements: list[str]
    has_example: bool
    uses_files: bool
    failure: dict[str, Any] | None = None


class ReplicaView(msgspec.Struct, frozen=True):
    """One worker process of the active version; runs name it by `number` and `pid`."""

    pid: int
    state: str
    started_at: float
    calls: int
    in_flight: int
    restarts: int
    facts: dict[str, Any] = {}
    number: int = 1


class QuarantineView(msgspec.Struct, frozen=True):
    """The active version's replicas die again and again; the next one is started after a pause.

    `deaths` counts those in a row, `next_start_at` is in seconds since the epoch.
    """

    deaths: int
    next_start_at: float
    reason: str


class ScalingView(msgspec.Struct, frozen=True):
    """How many replicas the active version may have, has, and why.

    `max_replicas` null: as many as the machine has cores, while they help. `wanted` is null when
    the version does not run. `template` has the process the replicas are forked from, or why there
    is none; `recycled` counts replicas replaced because of their memory. `hardware` is `CPU` or
    `GPU`.
    """

    min_replicas: int
    max_replicas: int | None
    cooldown_s: float
    wanted: int | None = None
    why: str = ""
    recycled: int = 0
    template: dict[str, Any] = {}
    hardware: str = "CPU"


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment with its versions, newest first, deleted ones left out.

    `calls` and `errors` count those of the active version since it was last started; null when
    none runs.
    """

    project: str
    name: str
    endpoint: str
    state: DeploymentState
    active: int | None
    created_at: float
    updated_at: float
    versions: list[VersionView]
    scaling: ScalingView | None = None
    replicas: list[ReplicaView] = []
    calls: int | None = None
    errors: int | None = None
    problem: dict[str, Any] | None = None
    quarantine: QuarantineView | None = None


def version_view(
    record: VersionRecord, active: int | None, *, with_traceback: bool = False
) -> VersionView:
    """Return a version for the outside.

    Args:
        record: The version.
        active: Number of the deployment's active version.
        with_traceback: Whether the reader may see user code's traceback.
    """
    manifest = read_manifest(record.manifest)
    return VersionView(
        number=record.number,
        state=record.state,
        active=record.number == active,
        created_at=record.created_at,
        created_by=record.created_by,
        ready_at=record.ready_at,
        size_bytes=record.size_bytes,
        settings=replace(
            record.settings, loggers=tuple(spec.hidden() for spec in record.settings.loggers)
        ),
        stages=stage_views(manifest),
        interpreter=manifest.interpreter,
        requirements=manifest.requirements,
        has_example=manifest.example is not None,
        uses_files=manifest.uses_files(),
        failure=record.failure if with_traceback else told_to_readers(record.failure),
    )


def stage_views(manifest: Manifest) -> list[StageView]:
    """Return the stages of a manifest in order."""
    return [_stage_view(stage) for stage in manifest.stages]


def _stage_view(stage: StageEntry) -> StageView:
    inner = stage.branches
    flows = inner.flows if inner is not None else []
    return StageView(
        model_type=stage.model_type,
        model=stage.title,
        size_bytes=stage.model.size,
        pre=_function_view(stage.pre),
        post=_function_view(stage.post),
        setup=_function_view(stage.setup),
        choose=_function_view(inner.choose if inner else None),
        combine=(_function_view(inner.combine) or inner.ready) if inner else None,
        branches={branch.name: [_stage_view(each) for each in branch.stages] for branch in flows},
        runs_code=stage.runs_code,
    )


def _function_view(entry: FunctionEntry | None) -> FunctionView | None:
    if entry is None:
        return None
    return FunctionView(entry.name, entry.arguments, [i.module for i in entry.imports])


def replica_views(replicas: Sequence[ReplicaStatus]) -> list[ReplicaView]:
    """Return the replicas of a pool."""
    return [
        ReplicaView(
            r.pid, r.state, r.started_at, r.calls, r.in_flight, r.restarts, dict(r.facts), r.number
        )
        for r in replicas
    ]


def scaling_view(scale: Scale | None, facts: Mapping[str, Any]) -> ScalingView | None:
    """Return the number of replicas for the outside; `facts` are the pool's, if it runs."""
    if scale is None:
        return None
    return ScalingView(scale.low, scale.high, scale.cooldown_s, **facts)


def deployment_view(
    record: DeploymentRecord,
    *,
    endpoint: str,
    scaling: ScalingView | None = None,
    replicas: Sequence[ReplicaStatus] = (),
    tally: Tally | None = None,
    starting: bool = False,
    problem: dict[str, Any] | None = None,
    health: PoolHealth | None = None,
    with_traceback: bool = False,
) -> DeploymentView:
    """Return a deployment for the outside.

    Args:
        record: The deployment with its versions.
        endpoint: URL of its predict call.
        scaling: How many replicas it may have.
        replicas: Replicas of the active version; empty when it does not run.
        tally: What the active version has answered, when it runs.
        starting: Whether the active version is being started.
        problem: Error object of the last failed start of the active version.
        health: How the replicas of the active version fare, when it runs.
        with_traceback: Whether the reader may see user code's traceback.
    """
    asleep = scaling is not None and scaling.wanted == 0
    live = [v for v in record.versions if v.state is not VersionState.DELETED]
    return DeploymentView(
        project=record.project,
        name=record.name,
        endpoint=endpoint,
        state=deployment_state(
            has_active=record.active is not None,
            deploying=any(v.state is VersionState.DEPLOYING for v in live),
            ready=any(r.state == "ready" for r in replicas),
            starting=starting or (health is not None and not asleep),
        ),
        active=record.active,
        created_at=record.created_at,
        updated_at=record.updated_at,
        versions=[
            version_view(v, record.active, with_traceback=with_traceback) for v in reversed(live)
        ],
        scaling=scaling,
        replicas=replica_views(replicas),
        calls=tally.calls if tally is not None else None,
        errors=tally.errors if tally is not None else None,
        problem=problem,
        quarantine=_quarantine(replicas, health),
    )


def _quarantine(
    replicas: Sequence[ReplicaStatus], health: PoolHealth | None
) -> QuarantineView | None:
    if health is None or health.in_a_row < QUARANTINE_DEATHS:
        return None
    if any(r.state == "ready" for r in replicas):
        return None
    return QuarantineView(health.in_a_row, health.next_start_at, health.reason)
