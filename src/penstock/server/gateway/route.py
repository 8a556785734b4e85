"""The Starlette side of predict: the same answers as the gateway's, for what it hands over.

The app mounts the endpoint of `predict_endpoint` at both predict paths. It sees chunked bodies,
`Expect: 100-continue`, HTTP/1.0, encoded addresses and paths that are not in the route table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from penstock.codec.frames import ACCEPT_NPY, SHOW_TRACEBACK
from penstock.control.predict import Answer, Body, Call, PredictCall, Predictor, Route
from penstock.core.errors import NotFound, PenstockError, UnsupportedMedia
from penstock.core.records import KeyRecord
from penstock.server.gateway.body import BodySink, too_large
from penstock.server.gateway.head import names_npy
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.respond import Rendered, refusal, refusal_closes, render

#: Starts a version that is not running: project, deployment, number. Raises `NotFound`.
Wake = Callable[[str, str, int], Awaitable[None]]


def predict_endpoint(
    predictor: Predictor, wake: Wake | None = None, limits: Limits | None = None
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint of the predict paths.

    Args:
        predictor: Route table and key check.
        wake: Starts a version that is called by its number but does not run.
        limits: As the gateway's.
    """
    bounds = limits or Limits()

    async def predict(request: Request) -> Response:
        try:
            answer, run_id, show, close = await predict_once(predictor, request, wake, bounds)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        return as_response(render(answer, run_id, with_traceback=show, close=close))

    return predict


def as_response(rendered: Rendered) -> Response:
    """Return a Starlette response with exactly the header fields of `rendered`."""
    response = Response(rendered.body, rendered.status)
    response.raw_headers = list(rendered.headers)
    return response


async def predict_once(
    predictor: Predictor, request: Request, wake: Wake | None, limits: Limits
) -> tuple[Answer, str, bool, bool]:
    """Answer one predict request.

    Returns:
        The answer, its run id, whether tracebacks may be shown, and whether the connection is to
        be closed.

    Raises:
        ClientDisconnect: The client went away; the call is cancelled.
    """
    length = _announced(request)
    sink: BodySink | None = None
    try:
        route, record = await _admit(predictor, request, wake)
        _check_encoding(request)
        if length > route.max_body:
            raise too_large(length, route.max_body)
        sink = BodySink(route.max_body, length)
        async for piece in request.stream():
            sink.write(piece)
    except PenstockError as error:
        if sink is not None:
            sink.discard()
        close = refusal_closes(error, length, limits.unread_bytes)
        return refusal(error), predictor.run_ids.take(), False, close
    except ClientDisconnect:
        if sink is not None:
            sink.discard()
        raise
    call, answer = await _call(predictor, request, route, record, sink.finish())
    return answer, call.run_id, bool(call.flags & SHOW_TRACEBACK), False


def _announced(request: Request) -> int:
    if "transfer-encoding" in request.headers:
        return -1
    return int(request.headers.get("content-length", "0"))


async def _admit(
    predictor: Predictor, request: Request, wake: Wake | None
) -> tuple[Route, KeyRecord]:
    path = request.scope["path"].encode("utf-8")
    authorization = request.headers.get("authorization", "").encode("latin-1")
    try:
        return predictor.admit(path, authorization)
    except NotFound:
        number = request.path_params.get("number")
        if wake is None or number is None:
            raise
        names = request.path_params
        await wake(names["project"], names["name"], int(number))
        return predictor.admit(path, authorization)


def _check_encoding(request: Request) -> None:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise UnsupportedMedia(
            f"The body's Content-Encoding {coding!r} is not read here.",
            hint="Send the body as it is.",
        )


async def _call(
    predictor: Predictor, request: Request, route: Route, record: KeyRecord, body: Body
) -> tuple[PredictCall, Answer]:
    """Start the call and wait for its answer; cancel it when the client goes away."""
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(_call: Call, answer: Answer) -> None:
        if not done.done():
            done.set_result(answer)

    flags = ACCEPT_NPY if names_npy(request.headers.get("accept", "").encode("latin-1")) else 0
    media_type = request.headers.get("content-type", "").encode("latin-1")
    call = predictor.start(route, record, media_type, body, answered, flags)
    gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    waiting: set[asyncio.Future[Any]] = {done, gone}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientDisconnect
        return call, done.result()
    finally:
        gone.cancel()
        if not done.done():
            predictor.cancel(call)
