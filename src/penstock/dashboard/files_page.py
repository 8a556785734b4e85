"""Files that processing functions handed out: list, open, delete."""

from __future__ import annotations

from penstock.core.errors import NotFound
from penstock.core.records import Scope
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit


async def files(visit: Visit, parts: Parts) -> Page:
    """Answer the files of the project that are not expired."""
    listed = await parts.uploads.list(visit.project)
    found = [(upload, url) for upload, url in listed if visit.sees(upload.deployment)]
    total = sum(upload.size for upload, _url in found)
    return Page("files.html", {"here": "files", "files": found, "total": total})


async def delete_file(visit: Visit, parts: Parts) -> Go:
    """Delete a file; its address answers 410 from now on."""
    visit.require(Scope.DEPLOY)
    file_id = visit.request.path_params["file_id"]
    listed = await parts.uploads.list(visit.project)
    if any(u.file_id == file_id and not visit.sees(u.deployment) for u, _url in listed):
        raise NotFound(f"This key sees no file {file_id[:64]!r}.")
    await parts.uploads.delete(visit.project, file_id)
    return Go(f"{visit.base}/files", "The file is deleted.")
