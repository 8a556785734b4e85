"""The playground: a form made from the example, the answer, its timeline, the same call as code."""

from __future__ import annotations

import json
import time
from typing import Any

from penstock.control.insight.run_details import timeline
from penstock.control.status import DeploymentView, VersionView
from penstock.core.errors import BodyTooLarge, NotFound, PenstockError
from penstock.core.records import Scope
from penstock.core.states import VersionState
from penstock.dashboard.calls import Made, call_version
from penstock.dashboard.deployment import example_of, header, stage_facts
from penstock.dashboard.fall import fall_of
from penstock.dashboard.fields import MOST_FIELDS, Form, form_of_data, form_of_inputs
from penstock.dashboard.parts import Parts
from penstock.dashboard.snippets import Sent, read_sent, snippets
from penstock.dashboard.visit import Page, Visit
from penstock.dashboard.words import size

#: Parts of a version's time when nothing fails are read from these roles.
_ROLES = ("pre", "model", "post")

#: Why there is no form.
_NO_EXAMPLE = "No form: neither an example nor the model tells which fields there are."
_NO_FIELDS = f"No form: the example's data points have no fields in common, or over {MOST_FIELDS}."


async def playground(visit: Visit, parts: Parts) -> Page:
    """Answer the form."""
    values = await header(visit, parts, "playground")
    view: DeploymentView = values["view"]
    shown: VersionView | None = values["shown"]
    callable_ = [
        v for v in view.versions if v.state in {VersionState.READY, VersionState.WITHDRAWN}
    ]
    example = await example_of(visit, parts, shown)
    sent = read_sent(*example) if example is not None else None
    form = _form(view, shown, sent)
    values |= {
        "callable": callable_,
        "example": sent,
        "told": _told_of(sent),
        "data": sent.data if sent is not None else _blank(form, shown),
        "form": _as_json(form) if form is not None else "",
        "no_form": _NO_FIELDS if sent is not None else _NO_EXAMPLE,
        "takes_files": bool(shown and shown.uses_files),
        "most": size(parts.max_body_bytes),
    }
    return Page("playground.html", values)


def _form(view: DeploymentView, shown: VersionView | None, sent: Sent | None) -> Form | None:
    """Return the form of an example, or else that of the model where nothing comes before it."""
    if sent is not None:
        return form_of_data(json.loads(sent.data))
    if shown is None or not shown.active or shown.uses_files or shown.stages[0].pre is not None:
        return None
    facts = next(iter(stage_facts(view)), {})
    return form_of_inputs(facts.get("inputs") or [])


def _as_json(form: Form) -> str:
    """Return a form as the page's script reads it."""
    fields = [field._asdict() for field in form.fields]
    return json.dumps({"shape": form.shape, "fields": fields})


def _blank(form: Form | None, shown: VersionView | None) -> str:
    """Return data to begin with where there is no example."""
    if form is not None:
        return json.dumps([[0] * len(form.fields)])
    return "[]" if shown and shown.uses_files else "[[1, 2]]"


def _told_of(sent: Sent | None) -> str:
    """Return in words what the example's data are: list of str, one per file."""
    data = json.loads(sent.data) if sent is not None else None
    if sent is None or not isinstance(data, list) or not data:
        return "JSON, usually a list with one item per data point"
    kinds = {type(item).__name__ for item in data}
    told = f"list of {kinds.pop()}" if len(kinds) == 1 else "list"
    return told + (", one per file" if sent.files and len(sent.files) == len(data) else "")


async def send(visit: Visit, parts: Parts) -> Page:
    """Make the call of the form and answer with what came back."""
    visit.require(Scope.PREDICT)
    number = visit.query("version")
    wanted = int(number) if number.isdecimal() else None
    view = await parts.deployments.get(visit.project, visit.name)
    media_type = visit.request.headers.get("content-type", "")
    body = await _body(visit, parts.max_body_bytes)
    began = time.perf_counter()
    chosen = wanted if wanted != view.active else None
    values: dict[str, Any] = {"view": view, "problem": None}
    try:
        made = await call_version(visit, parts, visit.name, chosen, media_type, body)
    except PenstockError as error:
        return Page(
            "answer.html", {**values, "problem": error, "status": parts.status_of(error.code)}
        )
    took_ms = (time.perf_counter() - began) * 1e3
    version = next((v for v in view.versions if v.number == (wanted or view.active)), None)
    if version is None:
        raise NotFound(f"{visit.name} has no such version.")
    values |= _shown(made, version, took_ms)
    values |= {
        "status": parts.status_of(made.code) if made.code else 200,
        "snippets": snippets(view.endpoint, (media_type, body), uses_files=version.uses_files),
    }
    return Page("answer.html", values)


def _shown(made: Made, version: VersionView, took_ms: float) -> dict[str, Any]:
    whole = _whole_ms(made.body) or took_ms
    steps = ["queue", "decode"]
    for number, stage in enumerate(version.stages, 1):
        there = {"pre": stage.pre, "model": stage, "post": stage.post}
        steps += [f"s{number}-{role}" for role in _ROLES if there[role] is not None]
    parts = timeline(made.timing, whole, steps, failed=bool(made.code))
    text, kind = _readable(made.body)
    return {
        "made": made,
        "text": text,
        "kind": kind,
        "size": len(made.body),
        "took_ms": took_ms,
        "fall": fall_of(parts, version.stages, made.error),
    }


def _whole_ms(body: bytes) -> float | None:
    try:
        return float(json.loads(body)["run_time_ms"])
    except (ValueError, KeyError, TypeError):
        return None


def _readable(body: bytes) -> tuple[str, str]:
    """Return an answer's body as text, with what kind of result is in it."""
    try:
        value = json.loads(body)
    except ValueError:
        return body[:2000].decode("latin-1"), "bytes"
    result = value.get("result") if isinstance(value, dict) else None
    kind = "dict" if isinstance(result, dict) else "list" if isinstance(result, list) else ""
    lines = (
        [
            f"  {json.dumps(name)}: {json.dumps(item, ensure_ascii=False)}"
            for name, item in value.items()
        ]
        if isinstance(value, dict)
        else []
    )
    if lines and all(len(line) <= 110 for line in lines):
        return "{\n" + ",\n".join(lines) + "\n}", kind
    return json.dumps(value, ensure_ascii=False, indent=2), kind


async def _body(visit: Visit, limit: int) -> bytes:
    taken = bytearray()
    async for piece in visit.request.stream():
        taken += piece
        if len(taken) > limit:
            raise BodyTooLarge(f"The call has more than {limit} bytes.", limit_bytes=limit)
    return bytes(taken)
