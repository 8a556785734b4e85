"""Files of bundles, uploaded before the version that uses them."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import BlobCorrupt, BodyTooLarge, InvalidName, MalformedBody, StorageFull
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer, read_json


class BlobNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SHA-256s of files a client has."""

    sha256: list[str]


class MissingBlobs(msgspec.Struct, frozen=True):
    """SHA-256s of those the server does not have."""

    missing: list[str]


class StoredBlob(msgspec.Struct, frozen=True):
    """A file the server now has."""

    sha256: str
    size: int


async def missing_blobs(request: Request, parts: Parts) -> Response:
    """Answer which files need to be uploaded."""
    body = await read_json(request, BlobNames, parts.settings, large=True)
    return json_answer(MissingBlobs(await parts.blobs.missing(body.sha256)))


async def put_blob(request: Request, parts: Parts) -> Response:
    """Store one file; its bytes go to the disk as they come in."""
    project, sha256 = request.path_params["project"], request.path_params["sha256"]
    limit = parts.settings.max_blob_bytes
    size = await parts.blobs.put(project, sha256, request.stream(), limit)
    return json_answer(StoredBlob(sha256, size), 201)


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/{project}/blobs/missing",
        missing_blobs,
        "Tell which files the server does not have.",
        Scope.DEPLOY,
        takes=BlobNames,
        gives=MissingBlobs,
        checks_grant=True,  # files belong to no deployment yet
        audited=False,
        errors=(MalformedBody, InvalidName),
    ),
    Endpoint(
        "PUT",
        "/v1/{project}/blobs/{sha256}",
        put_blob,
        "Upload a file under its SHA-256.",
        Scope.DEPLOY,
        takes="application/octet-stream",
        gives=StoredBlob,
        checks_grant=True,
        audited=False,  # the deploy that uses it is
        status=201,
        errors=(BlobCorrupt, BodyTooLarge, InvalidName, StorageFull),
    ),
]
