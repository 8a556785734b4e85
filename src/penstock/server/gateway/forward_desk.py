"""Asynchronous runs asked for at an extra gateway: the server process takes them.

`ForwardDesk` stands for `run_desk.RunDesk` in an extra gateway. The call goes to the server process
with the flag `AS_RUN`, which answers with a whole HTTP answer (`ForwardedRuns`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from penstock.codec.gateway_messages import AS_RUN
from penstock.control.predict import Answer, Body, Call, Route
from penstock.core.errors import PenstockError
from penstock.core.records import KeyRecord
from penstock.server.gateway.respond import Rendered
from penstock.server.gateway.run_desk import Ask, RunDesk, webhook_of

if TYPE_CHECKING:
    from penstock.control.forward import ForwardPredictor


class ForwardDesk(RunDesk):
    """Has the server process take calls that name a webhook.

    Args:
        predictor: The way to the server process.
    """

    def __init__(self, predictor: ForwardPredictor) -> None:
        self._forward = predictor

    async def webhook(self, media_type: bytes, body: Body) -> str | None:
        """Return the webhook that a body names, or None; the body stays as it is."""
        return await asyncio.to_thread(webhook_of, media_type, body)

    async def accept(
        self,
        route: Route,
        record: KeyRecord,
        media_type: bytes,
        body: Body,
        ask: Ask,  # noqa: ARG002 - the server process asks again
        webhook_url: str | None,  # noqa: ARG002
        trace: bytes = b"",
    ) -> Rendered:
        """Have a request made a run; see `RunDesk.accept`.

        Raises:
            PenstockError: It was not accepted.
        """
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(_call: Call, answer: Answer) -> None:
            done.set_result(answer)

        self._forward.start(route, record, media_type, body, answered, AS_RUN, trace=trace)
        answer = await done
        if answer.error is not None:
            raise answer.error
        return _unpack_rendered(answer.body)


class ForwardedRuns:
    """The server process's end: takes calls flagged `AS_RUN`, see `ForwardedCalls`.

    Args:
        desk: Takes them as runs.
    """

    def __init__(self, desk: RunDesk) -> None:
        self._desk = desk

    async def take(
        self, route: Route, record: KeyRecord, media_type: bytes, body: Body, trace: bytes
    ) -> Answer:
        """Make a request a run and return the HTTP answer, packed, or why it is none."""
        try:
            url = await self._desk.webhook(media_type, body)
            rendered = await self._desk.accept(route, record, media_type, body, Ask(), url, trace)
        except PenstockError as error:
            return Answer(error.code, error=error)
        return Answer(body=_pack_rendered(rendered))


def _pack_rendered(rendered: Rendered) -> bytes:
    """Return an HTTP answer as bytes for an extra gateway."""
    return msgspec.msgpack.encode((rendered.status, rendered.headers, bytes(rendered.body)))


def _unpack_rendered(raw: bytes | memoryview) -> Rendered:
    status, headers, body = msgspec.msgpack.decode(
        raw, type=tuple[int, list[tuple[bytes, bytes]], bytes]
    )
    return Rendered(status, headers, body)
