"""The predict calls of an extra gateway: checked here, answered by the server process.

An extra gateway (`penstock.wiring.gateway_process`) reads requests, checks keys and writes answers;
each call goes as one frame to the server process (`forwarded`), which owns queues and workers. What
this process knows is told by the server process, see `penstock.codec.gateway_messages`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import cast

import msgspec

from penstock.codec.frames import Reply
from penstock.codec.gateway_messages import (
    MEDIA_ERROR,
    AddPath,
    AllowKey,
    RefuseKey,
    RemovePath,
)
from penstock.codec.worker_messages import Cancel
from penstock.control.key_text import digest_in
from penstock.control.keys import expired_key, unknown_key
from penstock.control.predict import PredictCall, Predictor, Route, Tally, flags_for
from penstock.core.errors import Overloaded, from_dict
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Body, Call, Pool
from penstock.engine.local.channel import Channel

_log = logging.getLogger("penstock.server")


class KeyTable:
    """The valid keys, by the SHA-256 of their text."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, KeyRecord] = {}

    def allow(self, key: AllowKey) -> None:
        """Take a key."""
        self._by_digest[key.digest] = KeyRecord(
            key.key_id,
            key.digest,
            key.prefix,
            Scope(key.scope),
            key.project,
            "",
            0.0,
            deployments=None if key.deployments is None else tuple(key.deployments),
            expires_at=key.expires_at,
        )

    def refuse(self, digest: bytes) -> None:
        """Forget a key."""
        self._by_digest.pop(digest, None)

    def check(self, authorization: bytes) -> KeyRecord:
        """Return the key of a request; see `keys.Keys.check`."""
        record = self._by_digest.get(digest_in(authorization))
        if record is None:
            raise unknown_key()
        if record.expires_at is not None and record.expires_at <= time.time():
            raise expired_key(record)
        return record


#: Stands for whatever answers the calls of a path: the server process knows.
_ELSEWHERE = cast("Pool", object())


class ForwardPredictor(Predictor):
    """A `Predictor` whose calls are answered by the server process.

    Args:
        loop: The process's loop.
        data: Socket to the server process's `ForwardedCalls`.
        tell: Sends a control message to the server process.
        on_end: Called with the reason when the server process is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        data: socket.socket,
        tell: Callable[[msgspec.Struct], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.keys = KeyTable()
        super().__init__(self.keys.check)
        self._tell = tell
        self._channel = Channel(loop, data, self._replied, on_end, most_media=MEDIA_ERROR)
        self._waiting: dict[int, PredictCall] = {}
        self._last_id = 0
        self._unwanted: list[int] = []
        self._loop = loop

    def close(self) -> None:
        """Close the socket to the server process."""
        self._channel.close()

    def take(self, message: AllowKey | RefuseKey | AddPath | RemovePath) -> None:
        """Take what the server process says of keys and paths."""
        if isinstance(message, AllowKey):
            self.keys.allow(message)
        elif isinstance(message, RefuseKey):
            self.keys.refuse(message.digest)
        elif isinstance(message, AddPath):
            self.routes[message.path] = _RouteElsewhere(message)
        else:
            self.routes.pop(message.path, None)

    def start(
        self,
        route: Route,
        record: KeyRecord,
        media_type: bytes,
        body: Body,
        on_done: Callable[[Call, Answer], None],
        flags: int = 0,
        *,
        run_id: str = "",
        arrived_ns: int = 0,
        trace: bytes = b"",
    ) -> PredictCall:
        """Send a call to the server process; see `Predictor.start`."""
        assert isinstance(route, _RouteElsewhere)
        self._last_id += 1
        call = PredictCall(
            run_id or self.run_ids.take(),
            route.told(record) + media_type + (b"\n" + trace if trace else b""),
            body,
            arrived_ns or time.monotonic_ns(),
            0,
            on_done,
            flags_for(record, flags),
        )
        call.state = self._last_id
        call.route = route
        self._waiting[self._last_id] = call
        failed: OSError | None = None
        try:
            self._channel.send(self._last_id, call)
        except OSError as error:  # no descriptor is left for a large body
            failed = error
        _let_go(body)  # the socket has a copy of the descriptor
        if failed is not None:
            self._not_sent(call, failed)
        return call

    def _not_sent(self, call: PredictCall, error: OSError) -> None:
        """Answer a call that the socket did not take."""
        del self._waiting[call.state]
        why = Overloaded(
            f"Run {call.run_id} could not be handed to the server process: {error.strerror}.",
            hint="Try again, or raise the limit of open files of the server's processes.",
            retry_after_s=1,
        )
        call.on_done(call, Answer(why.code, error=why))

    def cancel(self, call: PredictCall) -> None:
        """Tell the server process that nobody waits for a call any more."""
        if self._waiting.pop(call.state, None) is None:
            return
        if not self._unwanted:
            self._loop.call_soon(self._tell_unwanted)
        self._unwanted.append(call.state)

    def _tell_unwanted(self) -> None:
        unwanted, self._unwanted = self._unwanted, []
        self._tell(Cancel(unwanted))

    def _replied(self, replies: list[tuple[Reply, bytes | memoryview | None]]) -> None:
        waiting = self._waiting
        for reply, body in replies:
            call = waiting.pop(reply.call_id, None)
            if call is None or body is None:
                continue
            try:
                call.on_done(call, _answer(reply, body))
            except Exception:  # noqa: BLE001 - one caller's defect must not stop the others' answers
                _log.exception("The answer of run %s could not be handed over.", call.run_id)


class _RouteElsewhere(Route):
    """A route that knows its path, which the server process looks up when a call arrives."""

    __slots__ = ("_by_key", "path")

    def __init__(self, told: AddPath) -> None:
        super().__init__(told.project, told.deployment, _ELSEWHERE, 0, told.max_body, Tally())
        self.path = told.path
        self._by_key: dict[bytes, bytes] = {}

    def told(self, record: KeyRecord) -> bytes:
        """Return what stands before the media type of a forwarded call: key and path."""
        known = self._by_key.get(record.digest)
        if known is None:
            known = b"%b %b\n" % (record.digest.hex().encode("ascii"), self.path)
            self._by_key[record.digest] = known
        return known


def _answer(reply: Reply, body: bytes | memoryview) -> Answer:
    code = reply.code.decode("ascii")
    if reply.media == MEDIA_ERROR:
        return Answer(code, timing=reply.timing, error=from_dict(msgspec.json.decode(body)))
    return Answer(code, reply.media, reply.timing, body)


def _let_go(body: Body) -> None:
    if body.fd >= 0:
        os.close(body.fd)
        body.fd = -1
