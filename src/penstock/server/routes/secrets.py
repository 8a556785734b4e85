"""Secrets of a project: set, list by name, delete; no address ever answers a value."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import Conflict, InvalidName, InvalidSetting, MalformedBody, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


class SecretBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret to set."""

    value: str

    def __repr__(self) -> str:
        return "SecretBody(***)"


class SecretView(msgspec.Struct, frozen=True):
    """A secret as the server tells of it: never its value."""

    name: str
    created_at: float
    updated_at: float
    updated_by: str


class SecretList(msgspec.Struct, frozen=True):
    """The secrets of a project, by name."""

    secrets: list[SecretView]


class SecretSet(msgspec.Struct, frozen=True):
    """A secret that was set; `created` tells whether there was none of that name."""

    name: str
    created: bool


class Rotated(msgspec.Struct, frozen=True):
    """How many values were encrypted with the new key."""

    values: int


async def list_secrets(request: Request, parts: Parts) -> Response:
    """Answer the names of the secrets of a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    found = await parts.secrets.list(project)
    return json_answer(SecretList([SecretView(*secret) for secret in found]))


async def set_secret(request: Request, parts: Parts) -> Response:
    """Set a secret; workers that declare it see it within seconds."""
    project, name = request.path_params["project"], request.path_params["secret"]
    body = await read_json(request, SecretBody, parts.settings)
    created = await parts.secrets.set(project, name, body.value, request.state.key.prefix)
    return json_answer(SecretSet(name, created), 201 if created else 200)


async def delete_secret(request: Request, parts: Parts) -> Response:
    """Delete a secret."""
    await parts.secrets.delete(request.path_params["project"], request.path_params["secret"])
    return Response(status_code=204)


async def rotate_secrets(_request: Request, parts: Parts) -> Response:
    """Encrypt every secret of the server with a new key."""
    return json_answer(Rotated(await parts.secrets.rotate()))


_PATH = "/v1/{project}/secrets"

ENDPOINTS = [
    Endpoint(
        "GET",
        _PATH,
        list_secrets,
        "List the names of a project's secrets.",
        Scope.DEPLOY,
        gives=SecretList,
        errors=(NotFound,),
    ),
    Endpoint(
        "PUT",
        _PATH + "/{secret}",
        set_secret,
        "Set a secret; workers that declare it see it within seconds.",
        Scope.DEPLOY,
        takes=SecretBody,
        gives=SecretSet,
        errors=(InvalidName, InvalidSetting, MalformedBody, NotFound),
    ),
    Endpoint(
        "DELETE",
        _PATH + "/{secret}",
        delete_secret,
        "Delete a secret.",
        Scope.DEPLOY,
        status=204,
        errors=(NotFound,),
    ),
    Endpoint(
        "POST",
        "/v1/secrets/rotate",
        rotate_secrets,
        "Encrypt every secret of the server with a new key.",
        Scope.ADMIN,
        gives=Rotated,
        errors=(Conflict,),
    ),
]
