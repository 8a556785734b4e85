"""The API's description in OpenAPI 3.1, generated from the endpoints and their types.

`describe_api` describes the control API (`/v1/openapi.json`), `describe_deployment` the predict
call of one deployment (`/v1/<project>/<name>/openapi.json`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from penstock.control.status import DeploymentView, StageView
from penstock.core import errors
from penstock.core.errors import PenstockError
from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint
from penstock.server.errors import status_of

_REF = "#/components/schemas/{name}"

#: Errors that any endpoint may answer when it needs a key.
KEY_ERRORS = (errors.Unauthorized, errors.Forbidden)

#: Errors that any predict call may answer.
PREDICT_ERRORS: tuple[type[PenstockError], ...] = (
    errors.MalformedBody,
    errors.Unauthorized,
    errors.Forbidden,
    errors.NotFound,
    errors.SlowBody,
    errors.BodyTooLarge,
    errors.UnsupportedMedia,
    errors.InputMismatch,
    errors.FilesNotUsed,
    errors.Overloaded,
    errors.FunctionFailed,
    errors.ReturnedNone,
    errors.StageMismatch,
    errors.ModelFailed,
    errors.ResultNotSerialisable,
    errors.WorkerDied,
    errors.NotReady,
    errors.DeadlineExceeded,
    errors.DiskFull,
    errors.InternalError,
)


class ErrorObject(msgspec.Struct, frozen=True):
    """What went wrong, where, and what to do. `traceback` only for keys that may deploy."""

    code: str
    message: str
    stage: int | None = None
    function: str | None = None
    type: str | None = None
    hint: str | None = None
    traceback: str | msgspec.UnsetType = msgspec.UNSET
    facts: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every answer that is an error."""

    error: ErrorObject
    run_id: str | None = None


class PredictAnswer(msgspec.Struct, frozen=True):
    """The body of a good answer to a predict call."""

    result: Any
    run_id: str
    run_time_ms: float
    prediction_ids: list[str]


def describe_api(endpoints: Iterable[Endpoint], version: str, server_url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the control API."""
    listed = list(endpoints)
    kinds = [k for e in listed for k in (e.takes, e.gives) if k and not isinstance(k, str)]
    refs, components = _schemas([*kinds, ErrorAnswer])
    paths: dict[str, Any] = {}
    for endpoint in listed:
        path = re.sub(r":\w+}", "}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, refs)
    return _document("Penstock", version, server_url, paths, components)


def _schemas(kinds: Sequence[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    unique = list(dict.fromkeys(kinds))
    found, components = msgspec.json.schema_components(unique, ref_template=_REF)
    return dict(zip(unique, found, strict=True)), components


def _document(
    title: str, version: str, server_url: str, paths: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": server_url}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "An API key, alone or after the word Bearer.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, refs: dict[Any, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint.path),
        "responses": {
            str(endpoint.status): _good_answer(endpoint, refs),
            **error_answers(
                (*endpoint.errors, *(KEY_ERRORS if endpoint.scope else ())), refs[ErrorAnswer]
            ),
        },
    }
    if endpoint.scope is None:
        out["security"] = []
    elif isinstance(endpoint.scope, Scope):
        out["description"] = f"Needs a key with {endpoint.scope.value} scope."
    if endpoint.takes is not None:
        out["requestBody"] = {"required": True, "content": _content(endpoint.takes, refs)}
    return out


def _parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if kind else "string"},
        }
        for name, kind in re.findall(r"{(\w+)(:int)?}", path)
    ]


def _good_answer(endpoint: Endpoint, refs: dict[Any, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"description": "Done."}
    if endpoint.gives is not None:
        out["content"] = _content(endpoint.gives, refs)
    return out


def _content(kind: Any, refs: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {}}
    return {"application/json": {"schema": refs[kind]}}


def error_answers(kinds: Iterable[type[PenstockError]], schema: Any) -> dict[str, Any]:
    """Return the OpenAPI responses for error classes, by HTTP status, from the error table."""
    by_status: dict[int, list[type[PenstockError]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(status_of(kind), []).append(kind)
    return {
        str(status): {
            "description": " ".join(f"`{kind.code}`: {kind.summary}" for kind in listed),
            "content": {"application/json": {"schema": schema}},
        }
        for status, listed in sorted(by_status.items())
    }


def describe_deployment(
    deployment: DeploymentView, version: str, example: Any = None
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of one deployment's predict call.

    Args:
        deployment: The deployment; its endpoint is the documented server URL.
        version: Number of the active version, as text.
        example: The deploy's example as plain JSON data, if it was JSON.
    """
    refs, components = _schemas([PredictAnswer, ErrorAnswer])
    active = [v for v in deployment.versions if v.active]
    stages = active[0].stages if active else []
    operation = {
        "operationId": "predict",
        "summary": f"Run {deployment.name}.",
        "description": _flow_text(stages),
        "requestBody": {"required": True, "content": request_forms(example)},
        "responses": {
            "200": {
                "description": "The flow's result.",
                "content": {"application/json": {"schema": refs[PredictAnswer]}},
            },
            **error_answers(PREDICT_ERRORS, refs[ErrorAnswer]),
        },
    }
    server_url, _slash, last = deployment.endpoint.rpartition("/")
    title = f"{deployment.project}/{deployment.name}"
    return _document(title, version, server_url, {f"/{last}": {"post": operation}}, components)


def _flow_text(stages: Sequence[StageView]) -> str:
    return "\n".join(_stage_lines(stages, ""))


def _stage_lines(stages: Sequence[StageView], where: str) -> Iterator[str]:
    for number, stage in enumerate(stages, 1):
        parts = [stage.pre.name if stage.pre else None, stage.model_type]
        parts.append(stage.post.name if stage.post else None)
        yield f"Stage {number}{where}: " + ", then ".join(p for p in parts if p) + "."
        for name, inner in stage.branches.items():
            yield from _stage_lines(inner, f" of branch {name!r} of stage {number}{where}")


def request_forms(example: Any = None) -> dict[str, Any]:
    """Return the OpenAPI content of a predict request: JSON, multipart, npy, any bytes."""
    data: dict[str, Any] = {"description": "The flow's input, usually a list of data points."}
    envelope = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {"data": {}, "parameters": {"type": "object"}},
    }
    as_json: dict[str, Any] = {"schema": {"anyOf": [data, envelope]}}
    if example is not None:
        as_json["example"] = example
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    multipart = {
        "type": "object",
        "properties": {"data": {"description": "The input as JSON text."}, "files": files},
    }
    raw = {"type": "string", "format": "binary"}
    return {
        "application/json": as_json,
        "multipart/form-data": {"schema": multipart},
        "application/x-npy": {"schema": {**raw, "description": "One array, without pickle."}},
        "application/octet-stream": {"schema": {**raw, "description": "One file."}},
    }
