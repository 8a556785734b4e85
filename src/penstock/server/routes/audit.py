"""The audit log: who changed what in a project, or on the whole server."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.control.audit import PAGE
from penstock.core.audit_records import AuditEntry
from penstock.core.errors import InvalidSetting, NotFound
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts, json_answer

_DEFAULT = 100


class AuditLog(msgspec.Struct, frozen=True):
    """Entries, newest first. `before` asks for the next page; null on the last one."""

    entries: list[AuditEntry]
    before: int | None


async def project_audit(request: Request, parts: Parts) -> Response:
    """Answer the changes in a project."""
    project = request.path_params["project"]
    await parts.projects.get(project)
    return await _page(request, parts, project)


async def server_audit(request: Request, parts: Parts) -> Response:
    """Answer the changes on the whole server."""
    return await _page(request, parts, None)


async def _page(request: Request, parts: Parts, project: str | None) -> Response:
    limit = _number(request, "limit", _DEFAULT, PAGE)
    before = _number(request, "before", 0, 2**62) or None
    found = list(await parts.audit.list(project, before, limit))
    return json_answer(AuditLog(found, found[-1].seq if len(found) == limit else None))


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 19 or not 0 < int(text) <= most:
        raise InvalidSetting(f"{name} is {text[:40]!r}; it must be from 1 to {most}.")
    return int(text)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/{project}/audit",
        project_audit,
        "List who changed what in a project, newest first; ?limit=, before=.",
        Scope.DEPLOY,
        gives=AuditLog,
        errors=(InvalidSetting, NotFound),
    ),
    Endpoint(
        "GET",
        "/v1/audit",
        server_audit,
        "List who changed what on the server, newest first; ?limit=, before=.",
        Scope.ADMIN,
        gives=AuditLog,
        errors=(InvalidSetting,),
    ),
]
