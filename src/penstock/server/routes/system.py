"""The server as a whole: who am I, what is installed, projects, the API's description."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.codec.bundle import Interpreter
from penstock.control.status import SandboxView
from penstock.core.errors import Conflict, InvalidName, MalformedBody
from penstock.core.records import ProjectRecord, Scope
from penstock.server.endpoints import ANY_KEY, Endpoint, Parts, json_answer, read_json


class WhoAmI(msgspec.Struct, frozen=True):
    """The caller's key. `project` is null for an admin key, which may act in every project."""

    project: str | None
    scope: Scope
    key_id: str
    label: str


class Limits(msgspec.Struct, frozen=True):
    """What the server accepts, in bytes."""

    max_body_bytes: int
    max_blob_bytes: int
    max_manifest_bytes: int


class Environment(msgspec.Struct, frozen=True):
    """What functions and models meet on this server.

    `packages` maps distributions to versions; `modules` are the importable top-level modules;
    `model_types` are those that installed packages add to the built-in ones. `pythons` are the
    interpreters that versions may have an environment for.
    """

    penstock: str
    interpreter: Interpreter
    packages: dict[str, str]
    modules: list[str]
    limits: Limits
    model_types: list[str]
    models_with_code: str
    pythons: list[Interpreter]


class ServerStatus(msgspec.Struct, frozen=True):
    """The server as it runs. `sandbox` says how workers are confined; null: not at all.

    `not_serving` holds the deployments that should serve and do not, as `project/deployment`.
    """

    penstock: str
    sandbox: SandboxView | None
    not_serving: list[str]


class ProjectBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to make."""

    name: str


class ProjectList(msgspec.Struct, frozen=True):
    """The projects of this server, by name."""

    projects: list[ProjectRecord]


async def whoami(request: Request, _parts: Parts) -> Response:
    """Answer what the caller's key is."""
    key = request.state.key
    return json_answer(WhoAmI(key.project, key.scope, key.key_id, key.label))


async def environment(_request: Request, parts: Parts) -> Response:
    """Answer what is installed, so that a client can refuse a deploy before it uploads."""
    settings = parts.settings
    limits = Limits(settings.max_body_bytes, settings.max_blob_bytes, settings.max_manifest_bytes)
    info = await parts.environment()
    pythons = [parts.environments.own, *parts.environments.others]
    return json_answer(
        Environment(
            parts.version,
            info.interpreter,
            info.packages,
            info.modules,
            limits,
            info.model_types,
            settings.models_with_code,
            pythons,
        )
    )


async def status(request: Request, parts: Parts) -> Response:
    """Answer how the server runs; of other projects than the key's it says nothing."""
    project = request.state.key.project
    idle = [n for n in parts.not_serving() if project in {None, n.partition("/")[0]}]
    return json_answer(ServerStatus(parts.version, parts.sandbox(), idle))


async def list_projects(_request: Request, parts: Parts) -> Response:
    """Answer every project."""
    return json_answer(ProjectList(await parts.projects.list()))


async def add_project(request: Request, parts: Parts) -> Response:
    """Make a project."""
    body = await read_json(request, ProjectBody, parts.settings)
    return json_answer(await parts.projects.add(body.name), 201)


ENDPOINTS = [
    Endpoint("GET", "/v1/whoami", whoami, "Show what the key is.", ANY_KEY, gives=WhoAmI),
    Endpoint(
        "GET",
        "/v1/environment",
        environment,
        "Show the interpreter, libraries and limits of the server.",
        ANY_KEY,
        gives=Environment,
    ),
    Endpoint(
        "GET",
        "/v1/status",
        status,
        "Show how the server runs: how workers are confined, what does not serve.",
        Scope.READ,
        gives=ServerStatus,
    ),
    Endpoint(
        "GET", "/v1/projects", list_projects, "List the projects.", Scope.ADMIN, gives=ProjectList
    ),
    Endpoint(
        "POST",
        "/v1/projects",
        add_project,
        "Make a project.",
        Scope.ADMIN,
        takes=ProjectBody,
        gives=ProjectRecord,
        status=201,
        errors=(MalformedBody, InvalidName, Conflict),
    ),
]
