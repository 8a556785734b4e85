"""Calls that the pages make: from the playground, and a run once more. Counted like any other."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from penstock.codec.results import error_body
from penstock.control.predict import Answer, Call, predict_path
from penstock.control.trial import example_body
from penstock.core.errors import NotFound, PenstockError
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit


class Made(NamedTuple):
    """An answered call.

    Attributes:
        code: The error's code, empty when it succeeded.
        body: The answer's body as it was sent.
        timing: Its `Server-Timing`.
        error: The error object of a call that failed.
    """

    run_id: str
    code: str
    body: bytes
    timing: str
    error: dict[str, object] | None


async def call_version(
    visit: Visit, parts: Parts, name: str, number: int | None, media_type: str, body: bytes
) -> Made:
    """Call a deployment (`number` None), or one version, which is started for a while.

    Raises:
        NotFound: There is no such deployment or version.
        NotReady: It is starting.
    """
    path = predict_path(visit.project, name, number)
    try:
        route = parts.predictor.route_for(path, visit.key)
    except NotFound:
        if number is None:
            raise
        await parts.versions.wake(visit.project, name, number)
        route = parts.predictor.route_for(path, visit.key)
    route.tally.wanted += 1  # somebody looks at this one: it is kept, whatever the sample
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(_call: Call, answer: Answer) -> None:
        if not done.done():
            done.set_result(answer)

    call = parts.predictor.start(
        route, visit.key, media_type.encode("latin-1", "replace"), example_body(body), answered
    )
    try:
        answer = await done
    except asyncio.CancelledError:
        parts.predictor.cancel(call)
        raise
    return _made(call.run_id, answer)


def _made(run_id: str, answer: Answer) -> Made:
    timing = bytes(answer.timing).decode("latin-1")
    if not answer.code:
        return Made(run_id, "", bytes(answer.body), timing, None)
    if answer.error is not None:
        return Made(
            run_id, answer.code, _body(answer.error, run_id), timing, answer.error.to_dict()
        )
    body = bytes(answer.body)
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        error = {"code": answer.code, "message": answer.code}
    return Made(run_id, answer.code, body, timing, error)


def _body(error: PenstockError, run_id: str) -> bytes:
    return bytes(error_body(error, run_id, False))
