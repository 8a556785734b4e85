"""Other servers' protocols, for clients that exist: Open Inference Protocol v2, TorchServe.

A model of theirs is a deployment of the key's project (an admin key says which in the field
`Penstock-Project`, else it is `default`). The calls themselves are predict calls; bodies go to the
worker unread. The health paths need no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.codec.frames import BARE_RESULT, INFER
from penstock.codec.oip import media_type
from penstock.codec.oip_types import DATATYPES
from penstock.control.predict import predict_path
from penstock.core.errors import MalformedBody, NotFound, PenstockError
from penstock.core.records import KeyRecord, Scope
from penstock.core.states import VersionState
from penstock.server.auth import authorization_of, check_grant
from penstock.server.endpoints import Endpoint, Parts, json_answer
from penstock.server.errors import status_of
from penstock.server.gateway.route import FLAGS
from penstock.server.openapi import PREDICT_ERRORS
from penstock.server.routes.health import readyz

#: Field by which an admin key says which project it means.
PROJECT_FIELD = "penstock-project"

_HEADER_LENGTH = "inference-header-content-length"


async def live(_request: Request, _parts: Parts) -> Response:
    """Answer that the process is alive."""
    return json_answer({"live": True})


async def ready(request: Request, parts: Parts) -> Response:
    """Answer 200 when everything serves, else 503."""
    found = await readyz(request, parts)
    return json_answer({"ready": found.status_code == 200}, found.status_code)


async def ping(request: Request, parts: Parts) -> Response:
    """Answer as TorchServe does."""
    found = await readyz(request, parts)
    status = "Healthy" if found.status_code == 200 else "Unhealthy"
    return json_answer({"status": status}, found.status_code)


async def server_metadata(_request: Request, parts: Parts) -> Response:
    """Name the server and what it speaks."""
    return json_answer(
        {"name": "penstock", "version": parts.version, "extensions": ["binary_tensor_data"]}
    )


async def model_metadata(request: Request, parts: Parts) -> Response:
    """Describe a deployment as a model."""
    try:
        return json_answer(await _metadata(request, parts))
    except PenstockError as error:
        return _told(error)


async def _metadata(request: Request, parts: Parts) -> dict[str, Any]:
    view = await parts.deployments.get(_readable(request, parts), request.path_params["name"])
    stages = [dict(s) for r in view.replicas[:1] for s in r.facts.get("stages", ())]
    plain = bool(stages) and "pre" not in stages[0].get("functions", ())
    return {
        "name": view.name,
        "versions": [str(v.number) for v in view.versions if v.state is VersionState.READY],
        "platform": "penstock",
        "inputs": [_tensor(spec) for spec in stages[0].get("inputs", ())] if plain else [],
        "outputs": [],
    }


def _tensor(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input of a model as the protocol tells of it; -1 is a free axis."""
    shape = spec.get("shape") or [None, spec.get("n_features")]
    return {
        "name": spec.get("name", "input"),
        "datatype": DATATYPES.get(str(spec.get("dtype")), "FP64"),
        "shape": [-1 if length is None else length for length in shape],
    }


async def model_ready(request: Request, parts: Parts) -> Response:
    """Answer 200 when a deployment, or one version of it, can be called."""
    try:
        project = _readable(request, parts)
        view = await parts.deployments.get(project, request.path_params["name"])
    except PenstockError as error:
        return _told(error)
    number = request.path_params.get("number")
    able = view.active is not None if number is None else number in _numbers(view.versions)
    return json_answer({"name": view.name, "ready": able}, 200 if able else 503)


def _numbers(versions: Any) -> set[int]:
    return {version.number for version in versions if version.state is VersionState.READY}


#: Longest number of bytes that anybody means.
_LENGTH_DIGITS = 18


def _project(request: Request, record: KeyRecord) -> str:
    return record.project or request.headers.get(PROJECT_FIELD, "default")


def _readable(request: Request, parts: Parts) -> str:
    """Return the project of a request that may read about the deployment it names."""
    record = parts.keys.check(authorization_of(request))
    check_grant(record, request.path_params["name"])
    return _project(request, record)


async def infer(request: Request, parts: Parts) -> Response:
    """Run a deployment with the protocol's tensors."""
    try:
        said = request.headers.get(_HEADER_LENGTH, "0")
        if not (said.isascii() and said.isdigit() and len(said) <= _LENGTH_DIGITS):
            raise MalformedBody(f"Inference-Header-Content-Length is {said[:20]!r}, no number.")
        number = request.path_params.get("number")
        name = request.path_params["name"]
        if not name.isascii():
            raise NotFound(f"There is no deployment {name!r}.")
        media = media_type(name, str(number or ""), int(said))
        found = await parts.predict(_predict_request(request, parts, media, INFER))
    except PenstockError as error:
        return _told(error)
    return _as_infer_error(found) if found.status_code >= 400 else found


async def torchserve(request: Request, parts: Parts) -> Response:
    """Run a deployment and answer the bare result."""
    media = request.headers.get("content-type", "application/octet-stream").encode("latin-1")
    return await parts.predict(_predict_request(request, parts, media, BARE_RESULT))


def _predict_request(request: Request, parts: Parts, media: bytes, flags: int) -> Request:
    """Return the request as the predict call it stands for, which counts for the key's rate."""
    project = _project(request, parts.keys.look(authorization_of(request)))
    name, number = request.path_params["name"], request.path_params.get("number")
    if not (project.isascii() and name.isascii()):
        parts.keys.check(authorization_of(request))  # there will be no call that counts it
        raise NotFound(f"There is no deployment {name!r} in the project {project!r}.")
    path = predict_path(project, name, number).decode("ascii")
    params = {"project": project, "name": name}
    kept = [(k, v) for k, v in request.scope["headers"] if k not in {b"content-type", b"accept"}]
    scope = {
        **request.scope,
        "path": path,
        "raw_path": path.encode("ascii"),
        "path_params": params if number is None else {**params, "number": number},
        "headers": [*kept, (b"content-type", media)],
        FLAGS: flags,
    }
    return Request(scope, request.receive)


def _as_infer_error(found: Response) -> Response:
    """Return an error answer in the protocol's shape: `error` is a text."""
    told = msgspec.json.decode(found.body)
    error = told.get("error") or {}
    text = " ".join(filter(None, (error.get("message"), error.get("hint"))))
    body = {"error": text, "code": error.get("code"), "run_id": told.get("run_id")}
    answer = json_answer(body, found.status_code)
    kept = [(k, v) for k, v in found.raw_headers if k not in {b"content-length", b"content-type"}]
    answer.raw_headers.extend(kept)
    return answer


def _told(error: PenstockError) -> Response:
    text = " ".join(filter(None, (error.message, error.hint)))
    return json_answer({"error": text, "code": error.code}, status_of(error))


def _model(path: str, handler: Any, summary: str, method: str = "GET") -> list[Endpoint]:
    """Return the endpoints of a path for the active version and for one by its number."""
    takes, errors = ("application/json", PREDICT_ERRORS) if method == "POST" else (None, ())
    bases = ("/v2/models/{name}", "/v2/models/{name}/versions/{number:int}")
    return [
        Endpoint(
            method, base + path, handler, summary, Scope.PREDICT, takes, dict[str, Any],
            errors=errors, checks_key=True,
        )
        for base in bases
    ]  # fmt: skip


_TORCHSERVE = "Run a deployment as TorchServe's clients do; the answer is the bare result."

ENDPOINTS = [
    Endpoint("GET", "/v2/health/live", live, "Open Inference Protocol: alive.", None),
    Endpoint("GET", "/v2/health/ready", ready, "Open Inference Protocol: ready.", None),
    Endpoint("GET", "/v2", server_metadata, "Open Inference Protocol: the server.", None),
    Endpoint("GET", "/ping", ping, "TorchServe's health check.", None),
    *_model("", model_metadata, "Open Inference Protocol: a deployment as a model."),
    *_model("/ready", model_ready, "Open Inference Protocol: whether a model can be called."),
    *_model("/infer", infer, "Open Inference Protocol: run a deployment.", "POST"),
    *(
        Endpoint(
            method, path, torchserve, _TORCHSERVE, Scope.PREDICT, "application/json", Any,
            errors=PREDICT_ERRORS, checks_key=True,
        )
        for path in ("/predictions/{name}", "/predictions/{name}/{number:int}")
        for method in ("POST", "PUT")
    ),
]  # fmt: skip
