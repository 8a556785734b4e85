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

from penstock.codec.frames import SHOW_TRACEBACK
from penstock.control.predict import (
    Answer,
    Body,
    Call,
    PredictCall,
    Predictor,
    Route,
    not_ready,
)
from penstock.core.errors import InvalidSetting, NotFound, PenstockError, UnsupportedMedia
from penstock.core.records import KeyRecord
from penstock.server.gateway.body import BodySink, too_large
from penstock.server.gateway.head import accept_flags, traceparent
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.respond import Rendered, refusal, refusal_closes, render
from penstock.server.gateway.run_desk import (
    Ask,
    RunDesk,
    ask_of,
    discard,
    may_name_webhook,
)

#: Name in a request's scope for more flags of its call, set by routes of other protocols.
FLAGS = "penstock.flags"

#: Starts a version that is not running: project, deployment, number. Raises `NotFound`.
Wake = Callable[[str, str, int], Awaitable[None]]


def predict_endpoint(
    predictor: Predictor,
    wake: Wake | None = None,
    limits: Limits | None = None,
    desk: RunDesk | None = None,
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint of the predict paths.

    Args:
        predictor: Route table and key check.
        wake: Starts a version that is called by its number but does not run.
        limits: As the gateway's.
        desk: Takes requests that are to run later.
    """
    bounds = limits or Limits()

    async def predict(request: Request) -> Response:
        try:
            return as_response(await predict_once(predictor, request, wake, bounds, desk))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    return predict


def as_response(rendered: Rendered) -> Response:
    """Return a Starlette response with exactly the header fields of `rendered`."""
    response = Response(rendered.body, rendered.status)
    response.raw_headers = list(rendered.headers)
    return response


async def predict_once(
    predictor: Predictor,
    request: Request,
    wake: Wake | None,
    limits: Limits,
    desk: RunDesk | None = None,
) -> Rendered:
    """Answer one predict request: now, or with a run if it is to run later.

    Raises:
        ClientDisconnect: The client went away; the call is cancelled.
    """
    length = _announced(request)
    sink: BodySink | None = None
    ask = Ask()
    try:
        if desk is not None:
            ask = ask_of(request.query_params, request.headers)
        route, record = await _admit(predictor, request, wake, desk, ask)
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
        return render(refusal(error), predictor.run_ids.take(), close=close)
    except ClientDisconnect:
        if sink is not None:
            sink.discard()
        raise
    body = sink.finish()
    if desk is not None:
        rendered = await _run_later(predictor, request, route, record, body, desk, ask)
        if rendered is not None:
            return rendered
    if route.pool is None:  # it was admitted for a webhook, and names none
        discard(body)
        return render(refusal(not_ready(route)), predictor.run_ids.take())
    call, answer = await _call(predictor, request, route, record, body)
    return render(answer, call.run_id, with_traceback=bool(call.flags & SHOW_TRACEBACK))


async def _run_later(
    predictor: Predictor,
    request: Request,
    route: Route,
    record: KeyRecord,
    body: Body,
    desk: RunDesk,
    ask: Ask,
) -> Rendered | None:
    """Return the answer to a request that is to run later; None if it is not one."""
    media_type = request.headers.get("content-type", "").encode("latin-1")
    url = await desk.webhook(media_type, body)
    if url is None and not ask.later:
        return None
    try:
        if "number" in request.path_params:
            discard(body)
            raise InvalidSetting(
                "A run is made for a deployment, not for one of its versions.",
                hint="Submit it without /versions/… in the address; the active version runs it.",
            )
        return await desk.accept(route, record, media_type, body, ask, url, _trace_of(request))
    except PenstockError as error:
        return render(refusal(error), predictor.run_ids.take())


def _trace_of(request: Request) -> bytes:
    return traceparent(request.headers.get("traceparent", "").encode("latin-1"))


def _announced(request: Request) -> int:
    if "transfer-encoding" in request.headers:
        return -1
    return int(request.headers.get("content-length", "0"))


async def _admit(
    predictor: Predictor, request: Request, wake: Wake | None, desk: RunDesk | None, ask: Ask
) -> tuple[Route, KeyRecord]:
    path = request.scope["path"].encode("utf-8")
    authorization = request.headers.get("authorization", "").encode("latin-1")
    media_type = request.headers.get("content-type", "").encode("latin-1")
    starting = desk is not None and (ask.later or may_name_webhook(media_type))
    try:
        return predictor.admit(path, authorization, starting=starting)
    except NotFound:
        number = request.path_params.get("number")
        if wake is None or number is None:
            raise
        names = request.path_params
        await wake(names["project"], names["name"], int(number))
        # Looked at again, for it may be revoked by now; `admit` has counted the request already.
        record = predictor.look_key(authorization)
        return predictor.route_for(path, record), record


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

    flags = accept_flags(request.headers.get("accept", "").encode("latin-1"))
    flags |= request.scope.get(FLAGS, 0)
    media_type = request.headers.get("content-type", "").encode("latin-1")
    call = predictor.start(
        route, record, media_type, body, answered, flags, trace=_trace_of(request)
    )
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
