"""What went into a run: its data as text, its files, and one of them by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import Response

from penstock.codec.payload import decode
from penstock.control.insight.run_details import RunDetails
from penstock.core.errors import NotFound, PenstockError
from penstock.dashboard.parts import Parts
from penstock.dashboard.run_seen import seen_run
from penstock.dashboard.visit import Visit
from penstock.dashboard.words import size as size_in_words

#: Content types of files that are shown as a small picture.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class File(NamedTuple):
    """A file of the input."""

    number: int
    name: str
    kind: str
    size: int
    shown: bool


async def input_of(visit: Visit, parts: Parts, details: RunDetails) -> tuple[str, str, list[File]]:
    """Return data and parameters as text and the files of the input, as far as they are kept."""
    if details.input.text is not None:
        return pretty(details.input.text), "", []
    try:
        sent = await parts.details.input(visit.project, details.run.run_id)
        asked = decode(sent.media_type, sent.body)
    except PenstockError:
        return "", "", []
    files = [
        File(number, f.name, f.content_type, f.size, f.content_type in _PICTURES)
        for number, f in enumerate(asked.files)
    ]
    data = (
        json.dumps(asked.data, ensure_ascii=False) if isinstance(asked.data, (list, dict)) else ""
    )
    parameters = json.dumps(asked.parameters, ensure_ascii=False) if asked.parameters else ""
    return pretty(data), parameters, files


def pretty(text: str) -> str:
    """Return JSON text over several lines when that reads better; other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    flat = json.dumps(value, ensure_ascii=False)
    return flat if len(flat) <= 44 else json.dumps(value, ensure_ascii=False, indent=2)


def described(size: int | None, files: list[File]) -> str:
    """Return in words what was sent: body, 2 files, 9.8 KiB."""
    told = ["body"]
    if files:
        told.append(f"{len(files)} file" + ("" if len(files) == 1 else "s"))
    if size is not None:
        told.append(size_in_words(size))
    return ", ".join(told)


async def input_file(visit: Visit, parts: Parts) -> Response:
    """Answer one file of a run's input: pictures to be shown, anything else to be saved."""
    params: Mapping[str, Any] = visit.request.path_params
    await seen_run(visit, parts)
    sent = await parts.details.input(visit.project, params["run_id"])
    asked = decode(sent.media_type, sent.body)
    number = int(params["number"])
    if number >= len(asked.files):
        raise NotFound(f"The run has {len(asked.files)} files.")
    file = asked.files[number]
    shown = file.content_type in _PICTURES
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline" if shown else "attachment",
    }
    kind = file.content_type if shown else "application/octet-stream"
    return Response(file.read(), media_type=kind, headers=headers)
