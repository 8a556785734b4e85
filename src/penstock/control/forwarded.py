"""The calls of one extra gateway as they come to the server process.

The other end of `forward.ForwardPredictor`. Each call names its key and path; both are looked up
here, when it arrives, so a gateway that has not heard of a change yet cannot get around it. Calls
of a gateway that dies are cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import msgspec

from penstock.codec import memfile
from penstock.codec.frames import (
    HAS_FD,
    INLINE_LIMIT,
    SHOW_TRACEBACK,
    CallFrame,
    fd_size,
    read_calls,
    reply_header,
)
from penstock.codec.gateway_messages import AS_RUN, MEDIA_ERROR
from penstock.control.predict import PredictCall, Predictor, Route, defect
from penstock.control.run_payloads import discard
from penstock.core.errors import PenstockError
from penstock.core.records import KeyRecord
from penstock.engine.base import Answer, Body, Call
from penstock.engine.local import failures
from penstock.engine.local.frame_socket import FrameSocket

log = logging.getLogger("penstock.server")

#: Different combinations of key, path and media type remembered.
_ADDRESSES = 1024

MakeRun = Callable[[Route, KeyRecord, bytes, Body, bytes], Awaitable[Answer]]

_encode_error = msgspec.json.Encoder(enc_hook=str).encode


class ForwardedCalls(FrameSocket):
    """The server process's end of an extra gateway's data socket.

    Args:
        loop: The server's loop.
        sock: Our end; closed by `close`.
        predictor: Answers the calls.
        key_of: Returns the key with a SHA-256 and counts a request of it, or raises why not.
        make_run: Takes a call that is to become an asynchronous run and returns the answer.
        on_end: Called once with the reason when the gateway closed its end or sent garbage.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        predictor: Predictor,
        key_of: Callable[[bytes], KeyRecord],
        make_run: MakeRun | None,
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(loop, sock, on_end)
        self._make_run = make_run
        self._addresses: dict[str, tuple[bytes, bytes, bytes]] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._predictor = predictor
        self._key_of = key_of
        self._arrived: list[CallFrame] = []
        self._waiting: dict[int, PredictCall | None] = {}
        self._unwanted: set[int] = set()  # given up before they arrived
        self._last_id = 0

    def cancel(self, call_ids: Iterable[int]) -> None:
        """Give up calls that nobody waits for."""
        for call_id in call_ids:
            call = self._waiting.pop(call_id, None)
            if call is not None:
                self._predictor.cancel(call)
            elif call_id > self._last_id:
                self._unwanted.add(call_id)

    def _shut(self) -> None:
        super()._shut()
        waiting, self._waiting = self._waiting, {}
        for call in waiting.values():
            if call is not None:
                self._predictor.cancel(call)

    # --- calls in ---

    def _parse(self, data: memoryview) -> int:
        self._arrived = []
        return read_calls(bytes(data), self._arrived)

    def _deliver(self) -> None:
        arrived, self._arrived = self._arrived, []
        for frame in arrived:
            body = self._body(frame)
            try:
                self._begin(frame, body)
            except Exception:
                log.exception("A call of an extra gateway could not be begun.")
                discard(body)
                self._fail(frame.call_id, defect())

    def _begin(self, frame: CallFrame, body: Body) -> None:
        call_id = self._last_id = frame.call_id
        if call_id in self._unwanted:
            self._unwanted.discard(call_id)
            discard(body)
            return
        text, trace = frame.media_type, ""
        if text.count("\n") > 1:  # a third line is the caller's `traceparent`
            text, _, trace = text.rpartition("\n")
        told = self._addresses.get(text) or self._learn(text)
        digest, path, media_type = told
        try:
            record = self._key_of(digest)
            starting = bool(frame.flags & AS_RUN)
            route = self._predictor.route_for(path, record, starting=starting)
        except PenstockError as error:
            discard(body)
            self._fail(call_id, error)
            return
        if frame.flags & AS_RUN:
            ours = trace.encode("latin-1")
            work = self._take_run(call_id, route, record, media_type, body, ours)
            task = self._loop.create_task(work)
            self._runs.add(task)
            task.add_done_callback(self._runs.discard)
            return
        self._waiting[call_id] = None
        call = self._predictor.start(
            route,
            record,
            media_type,
            body,
            partial(self._answered, call_id),
            frame.flags & ~(HAS_FD | SHOW_TRACEBACK),
            run_id=frame.run_id,
            arrived_ns=frame.arrived_ns,
            trace=trace.encode("latin-1"),
        )
        if call_id in self._waiting:  # else it was answered at once
            self._waiting[call_id] = call

    def _learn(self, text: str) -> tuple[bytes, bytes, bytes]:
        """Return key, path and media type of a call; the same few come again and again."""
        address, _, media_type = text.partition("\n")
        digest, _, path = address.partition(" ")
        told = bytes.fromhex(digest), path.encode("latin-1"), media_type.encode("latin-1")
        if len(self._addresses) >= _ADDRESSES:
            self._addresses.clear()
        self._addresses[text] = told
        return told

    async def _take_run(
        self,
        call_id: int,
        route: Route,
        record: KeyRecord,
        media_type: bytes,
        body: Body,
        trace: bytes,
    ) -> None:
        """Let a run be made; also when the gateway dies meanwhile."""
        assert self._make_run is not None
        try:
            answer = await self._make_run(route, record, media_type, body, trace)
        except Exception:
            log.exception("A request that names a webhook could not be taken.")
            discard(body)
            error = defect()
            answer = Answer(error.code, error=error)
        self._reply(call_id, answer)

    def _body(self, frame: CallFrame) -> Body:
        if frame.flags & HAS_FD:
            return Body(None, self._next_fd(), frame.body_size)
        return Body(bytes(frame.body))

    # --- answers out ---

    def _answered(self, call_id: int, _call: Call, answer: Answer) -> None:
        self._waiting.pop(call_id, None)
        self._reply(call_id, answer)

    def _fail(self, call_id: int, error: PenstockError) -> None:
        self._waiting.pop(call_id, None)
        self._reply(call_id, Answer(error.code, error=error))

    def _reply(self, call_id: int, answer: Answer) -> None:
        if not self._open:
            return
        error, media, body = answer.error, answer.media, answer.body
        if error is not None:
            media, body = MEDIA_ERROR, _encode_error(error.to_dict(with_traceback=True))
        code, size = answer.code.encode("latin-1"), len(body)
        if size <= INLINE_LIMIT:
            self._parts += (
                reply_header(call_id, 0, media, code, answer.timing, size),
                bytes(body),
            )
        else:
            try:
                fd, size = memfile.create((body,))
            except OSError as failed:
                self._fail(call_id, failures.no_room(failed))
                return
            head = reply_header(call_id, HAS_FD, media, code, answer.timing, 8)
            self._queue_with(head + fd_size(size), fd)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
