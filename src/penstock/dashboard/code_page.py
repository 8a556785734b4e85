"""The code of a version as it was deployed, what travelled with it, how it differs from another.

Also the bundle to download: everything of a version but its model files, as one archive.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

from starlette.responses import Response

from penstock.codec.bundle import write_manifest
from penstock.control.code import CodePart, VersionCode
from penstock.control.status import DeploymentView, VersionView
from penstock.dashboard import colour
from penstock.dashboard.deployment import header
from penstock.dashboard.differ import diff
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

_ROLES = frozenset({"setup", "model", "pre", "choose", "combine", "post"})


class Entry(NamedTuple):
    """A part in the list at the left, with what became of it since the other version."""

    part: CodePart
    change: str
    changed: bool


class Line(NamedTuple):
    """A line of a listing; number 0 stands for lines of the file that did not travel."""

    number: int
    text: Any


async def code(visit: Visit, parts: Parts) -> Page | Go:
    """Answer a version's code, and its difference from another version."""
    values = await header(visit, parts, "code")
    view: DeploymentView = values["view"]
    if not view.versions:
        return Go(visit.of(visit.name))
    number = _number(visit.query("version"), values["shown"].number)
    other = _number(visit.query("with"), _before(view, number))
    here = await parts.code.of(visit.project, visit.name, number)
    there = None
    if other and other != number and any(v.number == other for v in view.versions):
        there = await parts.code.of(visit.project, visit.name, other)
    part = here.part(visit.query("part")) or next(iter(here.parts))
    installed = await parts.installed()
    values |= {
        "number": number,
        "other": other if there is not None else 0,
        "shows": visit.query("show", "both") if there is not None else "source",
        "stages": _stages(here, there),
        "around": [_entry(p, there) for p in here.parts if not p.stage],
        "part": part,
        "in_module": part.role in _ROLES and len(part.pieces) == 1 and part.text != part.own,
        "lines": list(_lines(part)),
        "difference": _difference(part, there),
        "packages": _packages(part, here, installed.packages),
        "about": {v.number: v for v in view.versions},
        "stage_views": _stage_views(view, number),
    }
    return Page("code.html", values)


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _before(view: DeploymentView, number: int) -> int:
    return next((v.number for v in view.versions if v.number < number), 0)


def _stage_views(view: DeploymentView, number: int) -> list[Any]:
    version: VersionView = next(v for v in view.versions if v.number == number)
    return list(version.stages)


def _stages(here: VersionCode, there: VersionCode | None) -> list[list[Entry]]:
    count = len(here.manifest.stages)
    return [
        [_entry(part, there) for part in here.parts if part.stage == number]
        for number in range(1, count + 1)
    ]


def _entry(part: CodePart, there: VersionCode | None) -> Entry:
    if there is None:
        return Entry(part, "", False)
    old = there.part(part.key)
    if old is None:
        return Entry(part, "new", True)
    mine, theirs = _own(part), _own(old)
    if mine == theirs:
        return Entry(part, "same", False)
    found = diff(theirs, mine)
    count = max(found.added, found.removed)
    if part.role == "other":
        return Entry(part, f"{count} changed", True)
    return Entry(part, f"{count} line" + ("" if count == 1 else "s"), True)


def _own(part: CodePart) -> str:
    """Return the text of a part without its helpers', which are parts of their own."""
    return part.own or part.text


def _lines(part: CodePart) -> Any:
    python = part.role != "other"
    at = 0
    for piece in part.pieces:
        if at and piece.line > at:
            yield Line(0, "")
        marked = colour.lines(colour.python(piece.text)) if python else piece.text.split("\n")
        for offset, text in enumerate(marked):
            yield Line(piece.line + offset, text)
        at = piece.line + len(marked)


def _difference(part: CodePart, there: VersionCode | None) -> Any:
    old = there.part(part.key) if there is not None else None
    if there is None:
        return None
    before = old.text if old is not None else ""
    first_old = old.pieces[0].line if old is not None and old.pieces else 1
    first_new = part.pieces[0].line if part.pieces else 1
    python = part.role != "other"
    return diff(before, part.text, python=python, old_line=first_old, new_line=first_new)


def _packages(
    part: CodePart, here: VersionCode, there: dict[str, str]
) -> list[tuple[str, str, str]]:
    """Return name, version at deploy and version on the server of what a part imports."""
    wanted: dict[str, str] = {}
    for imported in part.imports:
        if imported.distribution:
            wanted[imported.distribution] = imported.version or here.packages.get(
                imported.distribution, ""
            )
    if not part.imports:
        wanted = dict(here.packages)
    canonical = {name.lower().replace("_", "-"): version for name, version in there.items()}
    return [
        (name, version or "–", canonical.get(name.lower().replace("_", "-"), "–"))
        for name, version in sorted(wanted.items(), key=lambda item: item[0].lower())
    ]


async def bundle(visit: Visit, parts: Parts) -> Response:
    """Answer the manifest and all source text of a version as a zip archive."""
    number = int(visit.request.path_params["number"])
    found = await parts.code.of(visit.project, visit.name, number)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", write_manifest(found.manifest))
        for part in found.parts:
            name = part.key if part.key.endswith(".py") else f"{part.key}.txt"
            name = f"{part.key}.py" if part.stage else name
            archive.writestr(name, part.text + "\n")
    name = f"{visit.name}-v{number}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)
