"""API keys: list, make, revoke; those of a project, and for admin keys those of the server."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.key_grants import Grant
from penstock.core.errors import Conflict, Forbidden, InvalidSetting, MalformedBody, NotFound
from penstock.core.records import KeyRecord, Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make.

    Attributes:
        scope: What it may do.
        label: What it is for.
        deployments: The only deployments it may act on; null for all of the project.
        expires_in_s: Seconds until it stops working; null for never.
        rate_per_s: Requests a second it may make; null for the server's limit.
    """

    scope: Scope
    label: str = ""
    deployments: list[str] | None = None
    expires_in_s: float | None = None
    rate_per_s: float | None = None


class KeyView(msgspec.Struct, frozen=True):
    """A key as the server knows it: never the key itself.

    `last_used_at` is known to about a minute.
    """

    key_id: str
    prefix: str
    scope: Scope
    project: str | None
    label: str
    created_at: float
    created_by: str
    deployments: list[str] | None
    expires_at: float | None
    last_used_at: float | None
    rate_per_s: float | None
    revoked_at: float | None


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made. `key` is shown this once."""

    key: str
    key_id: str
    prefix: str
    scope: Scope
    label: str
    expires_at: float | None


class KeyList(msgspec.Struct, frozen=True):
    """Keys, oldest first, revoked ones too."""

    keys: list[KeyView]


def _view(key: KeyRecord) -> KeyView:
    names = (name for name in KeyView.__struct_fields__ if name != "deployments")
    granted = None if key.deployments is None else list(key.deployments)
    return KeyView(**{name: getattr(key, name) for name in names}, deployments=granted)


async def list_keys(request: Request, parts: Parts) -> Response:
    """Answer the keys of a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    return json_answer(KeyList([_view(key) for key in await parts.keys.list(project)]))


async def list_all_keys(_request: Request, parts: Parts) -> Response:
    """Answer every key of the server."""
    return json_answer(KeyList([_view(key) for key in await parts.keys.list()]))


async def add_key(request: Request, parts: Parts) -> Response:
    """Make a key of a project; admin keys are of no project and are not made here."""
    project = request.path_params["project"]
    body = await read_json(request, KeyBody, parts.settings)
    if body.scope is Scope.ADMIN:
        raise Forbidden(
            "A project has no admin keys.",
            hint="An admin key makes more of them with POST /v1/keys.",
        )
    await parts.projects.get(project)
    return await _issue(request, parts, body, project)


async def add_admin_key(request: Request, parts: Parts) -> Response:
    """Make an admin key."""
    body = await read_json(request, KeyBody, parts.settings)
    if body.scope is not Scope.ADMIN or body.deployments is not None:
        raise InvalidSetting(
            "Here admin keys are made, which act on everything.",
            hint="Make other keys with POST /v1/<project>/keys.",
        )
    return await _issue(request, parts, body, None)


async def _issue(request: Request, parts: Parts, body: KeyBody, project: str | None) -> Response:
    maker: KeyRecord = request.state.key
    grant = Grant(
        label=body.label,
        deployments=None if body.deployments is None else tuple(body.deployments),
        expires_in_s=body.expires_in_s,
        rate_per_s=body.rate_per_s,
        created_by=maker.prefix,
    )
    text, record = await parts.keys.issue(
        body.scope, project, grant=parts.keys.no_more_than(maker, grant)
    )
    request.state.audit = {"key": record.prefix, "scope": record.scope.value, "label": body.label}
    answer = NewKey(
        text, record.key_id, record.prefix, record.scope, record.label, record.expires_at
    )
    return _unkept(json_answer(answer, 201))


def _unkept(response: Response) -> Response:
    response.headers["cache-control"] = "no-store"
    return response


async def revoke_key(request: Request, parts: Parts) -> Response:
    """Revoke a key of the project; it stops working at once."""
    project, key_id = request.path_params["project"], request.path_params["key_id"]
    if key_id not in {key.key_id for key in await parts.keys.list(project)}:
        raise NotFound(f"There is no key {key_id[:80]!r} in project {project!r}.")
    return await _revoke(request, parts, key_id)


async def revoke_any_key(request: Request, parts: Parts) -> Response:
    """Revoke any key of the server but the one that asks for it."""
    key_id = request.path_params["key_id"]
    if key_id == request.state.key.key_id:
        raise Conflict(
            "A key does not revoke itself here: nobody might be left to administer the server.",
            hint="Use another admin key.",
        )
    return await _revoke(request, parts, key_id)


async def _revoke(request: Request, parts: Parts, key_id: str) -> Response:
    record = await parts.keys.revoke(key_id)
    request.state.audit = {"key": record.prefix, "scope": record.scope.value}
    return json_answer(_view(record))


_PATH = "/v1/{project}/keys"
_ALL = "/v1/keys"

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
        errors=(MalformedBody, NotFound, InvalidSetting),
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
    Endpoint(
        "GET",
        _ALL,
        list_all_keys,
        "List every key of the server, oldest first.",
        Scope.ADMIN,
        gives=KeyList,
    ),
    Endpoint(
        "POST",
        _ALL,
        add_admin_key,
        "Make an admin key.",
        Scope.ADMIN,
        takes=KeyBody,
        gives=NewKey,
        status=201,
        errors=(MalformedBody, InvalidSetting),
    ),
    Endpoint(
        "DELETE",
        _ALL + "/{key_id}",
        revoke_any_key,
        "Revoke any key of the server.",
        Scope.ADMIN,
        gives=KeyView,
        errors=(NotFound, Conflict),
    ),
]
