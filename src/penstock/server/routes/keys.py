"""API keys of a project: list, make, revoke."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import Forbidden, MalformedBody, NotFound
from penstock.core.records import KeyRecord, Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. `label` says what it is for."""

    scope: Scope
    label: str = ""


class KeyView(msgspec.Struct, frozen=True):
    """A key as the server knows it: never the key itself."""

    key_id: str
    prefix: str
    scope: Scope
    label: str
    created_at: float
    revoked_at: float | None


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made. `key` is shown this once."""

    key: str
    key_id: str
    prefix: str
    scope: Scope
    label: str


class KeyList(msgspec.Struct, frozen=True):
    """The keys of a project, oldest first, revoked ones too."""

    keys: list[KeyView]


def _view(key: KeyRecord) -> KeyView:
    return KeyView(key.key_id, key.prefix, key.scope, key.label, key.created_at, key.revoked_at)


async def list_keys(request: Request, parts: Parts) -> Response:
    """Answer the keys of a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    return json_answer(KeyList([_view(key) for key in await parts.keys.list(project)]))


async def add_key(request: Request, parts: Parts) -> Response:
    """Make a key of a project; admin keys are of no project and are not made here."""
    project = request.path_params["project"]
    body = await read_json(request, KeyBody, parts.settings.max_control_body_bytes)
    if body.scope is Scope.ADMIN:
        raise Forbidden(
            "A project has no admin keys.",
            hint="The admin key is made by penstock serve, or given in PENSTOCK_ADMIN_KEY.",
        )
    await parts.projects.get(project)
    text, record = await parts.keys.issue(body.scope, project, body.label)
    return json_answer(NewKey(text, record.key_id, record.prefix, record.scope, record.label), 201)


async def revoke_key(request: Request, parts: Parts) -> Response:
    """Revoke a key of the project; it stops working at once."""
    project, key_id = request.path_params["project"], request.path_params["key_id"]
    if key_id not in {key.key_id for key in await parts.keys.list(project)}:
        raise NotFound(f"There is no key {key_id!r} in project {project!r}.")
    return json_answer(_view(await parts.keys.revoke(key_id)))


_PATH = "/v1/{project}/keys"

ENDPOINTS = [
    Endpoint(
        "GET",
        _PATH,
        list_keys,
        "List the keys of a project, oldest first.",
        Scope.DEPLOY,
        gives=KeyList,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        _PATH,
        add_key,
        "Make a key of a project.",
        Scope.DEPLOY,
        takes=KeyBody,
        gives=NewKey,
        status=201,
        errors=(MalformedBody, NotFound),
    ),
    Endpoint(
        "DELETE",
        _PATH + "/{key_id}",
        revoke_key,
        "Revoke a key of the project.",
        Scope.DEPLOY,
        gives=KeyView,
        errors=(NotFound,),
    ),
]
