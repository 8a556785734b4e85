"""Versions of a deployment: deploy, list, show, activate, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from penstock.control.events import DeployEvent, FailedEvent, LogEvent, ReadyEvent
from penstock.control.status import VersionView
from penstock.core.errors import (
    BlobMissing,
    Conflict,
    InterpreterMismatch,
    InvalidManifest,
    InvalidName,
    InvalidRequirement,
    InvalidSetting,
    LoadFailed,
    MissingImports,
    NotFound,
    SecretNotSet,
    StorageFull,
)
from penstock.core.loggers import LoggerSpec
from penstock.core.records import Scope, VersionSettings
from penstock.server.auth import sees_tracebacks
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json
from penstock.server.routes.scaling import ScalingBody

#: Seconds without an event after which an empty line keeps the connection alive.
KEEP_ALIVE_S = 10.0

#: Events that wait for a client to read them; lines beyond are left out.
MOST_WAITING = 2000

NDJSON = "application/x-ndjson"


class SettingsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the version is served; what is left out has its default."""

    replicas: int | Literal["auto"] = VersionSettings.replicas
    timeout_s: float = VersionSettings.timeout_s
    max_batch: int = VersionSettings.max_batch
    threads: int = VersionSettings.threads
    max_queue: int = VersionSettings.max_queue
    auto_rollback: bool = VersionSettings.auto_rollback
    memory_limit_bytes: int | None = VersionSettings.memory_limit_bytes
    concurrency: int = VersionSettings.concurrency
    loggers: tuple[LoggerSpec, ...] = ()
    network: Literal["all", "none"] = VersionSettings.network
    secrets: tuple[str, ...] = ()
    hardware: str = VersionSettings.hardware
    gpu: int = VersionSettings.gpu


class VersionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `deploy` sends once every file is uploaded.

    `manifest` is the bundle's manifest; `activate` false leaves the active version as it is.
    `scaling` changes the deployment's limits once the version is ready. `force_rebuild` builds the
    version's environment anew, from what the package indexes have now.
    """

    manifest: msgspec.Raw
    settings: SettingsBody = SettingsBody()
    scaling: ScalingBody = ScalingBody()
    activate: bool = True
    force_rebuild: bool = False


class VersionList(msgspec.Struct, frozen=True):
    """The versions of a deployment, newest first."""

    versions: list[VersionView]


async def add_version(request: Request, parts: Parts) -> Response:
    """Deploy a version and answer with its events, one JSON object a line.

    What can be refused without a worker is refused with its own status before the first event.
    """
    body = await read_json(request, VersionBody, parts.settings, large=True)
    candidate = await parts.deploys.admit(
        request.path_params["project"],
        request.path_params["name"],
        bytes(body.manifest),
        VersionSettings(**msgspec.structs.asdict(body.settings)),
        request.state.key.key_id,
        body.scaling.given(),
        force=body.force_rebuild,
    )
    events: asyncio.Queue[DeployEvent] = asyncio.Queue()
    task = parts.deploys.begin(candidate, partial(put_event, events), activate=body.activate)
    return StreamingResponse(
        _lines(events, task), media_type=NDJSON, headers={"Cache-Control": "no-store"}
    )


def put_event(events: asyncio.Queue[DeployEvent], event: DeployEvent) -> None:
    """Queue an event; of lines that come faster than the client reads, some are left out."""
    waiting = events.qsize()
    if isinstance(event, LogEvent) and waiting >= MOST_WAITING:
        if waiting > MOST_WAITING:
            return
        event = LogEvent("… (lines that come faster than they are read are left out)")
    events.put_nowait(event)


async def _lines(
    events: asyncio.Queue[DeployEvent], task: asyncio.Task[VersionView]
) -> AsyncIterator[bytes]:
    while True:
        try:
            event = await asyncio.wait_for(events.get(), KEEP_ALIVE_S)
        except asyncio.TimeoutError:
            if task.done() and events.empty():
                return
            yield b"\n"
            continue
        yield msgspec.json.encode(event) + b"\n"
        if isinstance(event, (ReadyEvent, FailedEvent)):
            return


async def list_versions(request: Request, parts: Parts) -> Response:
    """Answer the versions of a deployment."""
    params, shows = request.path_params, sees_tracebacks(request)
    found = await parts.deployments.get(params["project"], params["name"], with_traceback=shows)
    return json_answer(VersionList(found.versions))


async def get_version(request: Request, parts: Parts) -> Response:
    """Answer one version."""
    shows = sees_tracebacks(request)
    return json_answer(await parts.versions.get(*version_of(request), with_traceback=shows))


async def delete_version(request: Request, parts: Parts) -> Response:
    """Delete a version that is not the active one."""
    await parts.versions.delete(*version_of(request))
    return Response(status_code=204)


async def activate_version(request: Request, parts: Parts) -> Response:
    """Make a version the active one."""
    return json_answer(await parts.versions.activate(*version_of(request)))


def version_of(request: Request) -> tuple[str, str, int]:
    """Return project, deployment and version number of the request's path."""
    params = request.path_params
    return params["project"], params["name"], params["number"]


_PATH = "/v1/{project}/{name}/versions"

ENDPOINTS = [
    Endpoint(
        "GET",
        _PATH,
        list_versions,
        "List the versions of a deployment, newest first.",
        Scope.READ,
        gives=VersionList,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        _PATH,
        add_version,
        "Deploy a version: load it, try its example, switch the endpoint over.",
        Scope.DEPLOY,
        takes=VersionBody,
        gives=NDJSON,
        errors=(
            InvalidName,
            InvalidManifest,
            InvalidSetting,
            InvalidRequirement,
            InterpreterMismatch,
            MissingImports,
            BlobMissing,
            NotFound,
            SecretNotSet,
            StorageFull,
        ),
    ),
    Endpoint(
        "GET",
        _PATH + "/{number:int}",
        get_version,
        "Show one version.",
        Scope.READ,
        gives=VersionView,
        errors=(NotFound,),
    ),
    Endpoint(
        "DELETE",
        _PATH + "/{number:int}",
        delete_version,
        "Delete a version that is not the active one.",
        Scope.DEPLOY,
        status=204,
        errors=(NotFound, Conflict),
    ),
    Endpoint(
        "POST",
        _PATH + "/{number:int}/activate",
        activate_version,
        "Make a ready version the active one: roll back, or forward.",
        Scope.DEPLOY,
        gives=VersionView,
        errors=(NotFound, Conflict, LoadFailed),
    ),
]
