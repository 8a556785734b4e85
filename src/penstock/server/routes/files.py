"""Uploaded files: served to whoever has a signed address; listed and deleted by the project."""

from __future__ import annotations

import mimetypes
import os
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from penstock.core.delivery_records import UploadRecord
from penstock.core.errors import Forbidden, Gone, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer

#: Shown by a browser in its window. Anything else could run in the server's name: it is downloaded.
_SHOWN = (
    "application/json",
    "application/pdf",
    "audio/",
    "image/",
    "text/csv",
    "text/markdown",
    "text/plain",
    "video/",
)
_ACTIVE = frozenset({"image/svg+xml"})


class FileView(msgspec.Struct, frozen=True):
    """An uploaded file. `url` serves it, without a key, until `expires_at`."""

    file_id: str
    name: str
    deployment: str
    size: int
    created_at: float
    expires_at: float
    url: str


class FileList(msgspec.Struct, frozen=True):
    """The files of a project that are not expired, newest first, and their bytes in all."""

    files: list[FileView]
    total_bytes: int


async def get_file(request: Request, parts: Parts) -> Response:
    """Serve a file, or a range of it, to whoever has its address."""
    params, query = request.path_params, request.query_params
    upload, path = await parts.uploads.open(
        params["project"],
        params["file_id"],
        params["name"],
        query.get("expires", ""),
        query.get("signature", ""),
    )
    etag = f'"{upload.sha256}"'
    headers = _headers(upload, etag)
    if _has_it(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        path, headers=headers, media_type=_media_type(upload.name), stat_result=os.stat(path)
    )


def _has_it(if_none_match: str | None, etag: str) -> bool:
    given = (if_none_match or "").split(",")
    return any(text.strip().removeprefix("W/") in {etag, "*"} for text in given)


def _headers(upload: UploadRecord, etag: str) -> dict[str, str]:
    kind = _media_type(upload.name)
    shown = kind.startswith(_SHOWN) and kind not in _ACTIVE
    return {
        "ETag": etag,
        "Cache-Control": "private, no-cache",  # asked again with the ETag, so deleting it counts
        "Content-Disposition": _disposition(upload.name, shown),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _media_type(name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    return "application/octet-stream" if kind is None or encoding is not None else kind


def _disposition(name: str, shown: bool) -> str:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    how = "inline" if shown else "attachment"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def list_files(request: Request, parts: Parts) -> Response:
    """Answer the files of a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    views = [_view(upload, url) for upload, url in await parts.uploads.list(project)]
    return json_answer(FileList(views, sum(view.size for view in views)))


def _view(upload: UploadRecord, url: str) -> FileView:
    return FileView(
        file_id=upload.file_id,
        name=upload.name,
        deployment=upload.deployment,
        size=upload.size,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        url=url,
    )


async def delete_file(request: Request, parts: Parts) -> Response:
    """Delete a file; its address answers 410 from now on."""
    params = request.path_params
    await parts.uploads.delete(params["project"], params["file_id"])
    return Response(status_code=204)


_PATH = "/v1/{project}/files"

ENDPOINTS = [
    Endpoint(
        "GET",
        _PATH,
        list_files,
        "List the files that functions uploaded.",
        Scope.DEPLOY,
        gives=FileList,
        errors=(NotFound,),
    ),
    Endpoint(
        "DELETE",
        _PATH + "/{file_id}",
        delete_file,
        "Delete an uploaded file.",
        Scope.DEPLOY,
        status=204,
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        _PATH + "/{file_id}/{name}",
        get_file,
        "Fetch an uploaded file by its signed address; no key. Takes Range and If-None-Match.",
        None,
        gives="application/octet-stream",
        errors=(Forbidden, Gone),
    ),
]
