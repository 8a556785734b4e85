"""What the bytes of a connection mean: predict calls inline, the rest to the app.

An `asyncio.Protocol`, made by `listen` for each connection. Predict calls to a known path go
straight to their pool; answers go out in the order of the requests. Any other request waits until
the answers before it are out, then its bytes go to the app (`app_request`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from penstock.codec.frames import INLINE_LIMIT
from penstock.control.predict import Body, defect, not_ready
from penstock.core.errors import NotReady, PenstockError, RequestError
from penstock.server.gateway.body import BodySink, too_large
from penstock.server.gateway.connection import Connection, Mode
from penstock.server.gateway.exchange import Exchange
from penstock.server.gateway.filler import Filler
from penstock.server.gateway.head import Head
from penstock.server.gateway.respond import refusal, refusal_closes
from penstock.server.gateway.run_desk import (
    Ask,
    RunDesk,
    discard,
    may_name_webhook,
    worth_a_look,
)

if TYPE_CHECKING:
    from penstock.control.predict import Route
    from penstock.core.records import KeyRecord
    from penstock.server.gateway.listen import Gateway

_log = logging.getLogger("penstock.server")

# Looked up for every request: a module's name is cheaper than a class's attribute.
_HEAD, _BODY, _SKIP, _APP, _HOLD = Mode.HEAD, Mode.BODY, Mode.SKIP, Mode.APP, Mode.HOLD


class GatewayProtocol(Connection):
    """One connection of a client.

    Args:
        gateway: What all connections share.
    """

    __slots__ = ("_arriving", "_fill", "_known", "_left", "_predictor", "_routes")

    _arriving: tuple[Head, Route, KeyRecord]

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._left = 0  # bytes of the body still to come
        self._fill = False  # they may be received straight into the body's file
        self._known = gateway.heads.known
        self._predictor = gateway.predictor
        self._routes = gateway.predictor.routes

    def data_received(self, data: bytes) -> None:
        """Take what the client sent, as far as it can be taken now."""
        held = self._held
        if held:
            self._held = b""
            self._take(held + data)
            return
        if self._mode is _HEAD and self._writable:
            # The usual case made quick: exactly one whole predict call with a head seen before.
            end = data.find(b"\r\n\r\n") + 4
            head = self._known.get(data[:end])
            if (
                head is not None
                and head.hot
                and head.length == len(data) - end
                and not self._queue
                and head.path in self._routes
            ):
                self._busy = True
                at = self._begin_call(head, data, end)
                self._busy = False
                if at < len(data):  # refused: its body is to be skipped
                    self._take(data[at:])
                return
        self._take(data)

    # --- taking bytes ---

    def _take(self, data: bytes) -> None:
        at, size = 0, len(data)
        self._busy = True
        try:
            while at < size and self._writable:
                step = self._step(data, at)
                if step < 0:
                    break
                at = step
        except PenstockError as error:
            self._refuse(error)
        finally:
            self._busy = False
        if at < size and self._mode is not Mode.END:
            self._hold(data[at:])

    def _step(self, data: bytes, at: int) -> int:
        """Take one thing; return the index behind it, or -1 if nothing can be taken now."""
        mode = self._mode
        if mode is _HEAD:
            return self._take_head(data, at)
        if mode is _BODY or mode is _SKIP:
            return self._take_body(data, at)
        if mode is _APP and self._app is not None and not self._app.complete:
            return self._app.feed(data, at, self._gateway.now)
        return -1

    def _take_head(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):  # an empty line before a request is to be ignored
            return at + 2
        end = data.find(b"\r\n\r\n", at) + 4
        if end < 4:
            return self._not_yet(data[at:])
        gateway = self._gateway
        head = gateway.heads.read(data[at:end])
        self._partial = False
        if not head.hot or head.path not in self._routes:
            if gateway.handover is not None:
                return self._hand_over(data, at)
            return self._begin_app(head, end)
        if len(self._queue) >= gateway.limits.pipelined:
            self._mode = _HOLD
            return -1
        return self._begin_call(head, data, end)

    def _not_yet(self, part: bytes) -> int:
        """Check the part of a head that has come so far, and wait for the rest."""
        if part != b"\r" and not part[:1].isalpha():
            raise RequestError("The request is not proper HTTP: it does not begin with a method.")
        self._gateway.heads.check_size(part)
        if not self._partial:
            self._partial = True
            self._since = self._gateway.now
        return -1

    def _take_body(self, data: bytes, at: int) -> int:
        end = min(at + self._left, len(data))
        self._left -= end - at
        sink = self._sink
        if sink is not None:
            sink.write(memoryview(data)[at:end])
        if not self._left:
            self._body_ends()
        elif self._fill:
            self._fill = False
            if sink is not None and Filler.can_fill(self._transport, sink):
                Filler(self, self._transport, sink, self._left).begin()
        return end

    def _body_ends(self) -> None:
        sink, self._sink = self._sink, None
        self._mode = _HEAD
        self._since = self._gateway.now
        if sink is not None:
            self._start(*self._arriving, sink.finish())

    def filled(self) -> None:
        """The rest of the body was received where it belongs: begin the call."""
        self._left = 0
        try:
            self._body_ends()
        except PenstockError as error:
            self._refuse(error)

    def wants(self, sink: BodySink) -> bool:
        """Whether the body of `sink` is still to be received."""
        return self._sink is sink

    # --- predict calls ---

    def _begin_call(self, head: Head, data: bytes, at: int) -> int:
        """Admit a predict call; take its body if it is here, else make ready to receive it."""
        length = head.length
        try:
            route, record = self._predictor.admit(head.path, head.authorization, starting=True)
            if route.pool is None and not self._may_wait(head):
                raise not_ready(route)
            if length > route.max_body:
                raise too_large(length, route.max_body)
        except PenstockError as error:
            self._refuse_call(head, error, len(data) - at)
            return at
        if length <= INLINE_LIMIT and len(data) - at >= length:
            end = at + length
            self._start(head, route, record, Body(data[at:end]))
            return end
        self._receive(_BODY, length)
        self._arriving = (head, route, record)
        shelf = self._gateway.shelf
        owner = f"{route.project}/{route.deployment}"
        self._sink = BodySink(route.max_body, length, shelf, owner)
        self._fill = shelf is not None
        return at

    def _may_wait(self, head: Head) -> bool:
        """Whether a request may be one for a run, which can wait for a deployment that starts."""
        return self._gateway.desk is not None and may_name_webhook(head.media_type)

    def _receive(self, mode: Mode, length: int) -> None:
        self._mode = mode
        self._left = self._expected = length
        self._since = self._gateway.now

    def _start(self, head: Head, route: Route, record: KeyRecord, body: Body) -> None:
        exchange = self._place(head)
        if worth_a_look(head.media_type, body):
            desk = self._gateway.desk
            if desk is not None:
                self._gateway.spawn(self._look(desk, exchange, head, route, record, body))
                return
        self._call(exchange, head, route, record, body)

    async def _look(
        self,
        desk: RunDesk,
        exchange: Exchange,
        head: Head,
        route: Route,
        record: KeyRecord,
        body: Body,
    ) -> None:
        """Make the request a run if its body really names a webhook, else a call after all."""
        try:
            url = await desk.webhook(head.media_type, body)
            if url is None:
                if exchange in self._queue:
                    self._call(exchange, head, route, record, body)
                else:
                    discard(body)  # the client went away meanwhile
                return
            told = await desk.accept(route, record, head.media_type, body, Ask(), url, head.trace)
            exchange.settle_as(told)
        except PenstockError as error:
            exchange.settle(refusal(error), self._predictor.run_ids.take())
        except Exception:  # noqa: BLE001 - whatever it was, the client gets an answer
            _log.exception("A request that may name a webhook could not be taken.")
            discard(body)
            exchange.settle(refusal(defect()), self._predictor.run_ids.take())
        self.flush()

    def _call(
        self, exchange: Exchange, head: Head, route: Route, record: KeyRecord, body: Body
    ) -> None:
        if route.pool is None:  # the body was read for a webhook, and names none
            discard(body)
            self._predictor.count_refusal(NotReady.code)
            exchange.settle(refusal(not_ready(route)), self._predictor.run_ids.take())
            self.flush()
            return
        call = self._predictor.start(
            route, record, head.media_type, body, exchange.done, head.flags, trace=head.trace
        )
        if exchange.out is None:
            exchange.call = call

    def _place(self, head: Head) -> Exchange:
        """Give a request its place in the order of answers."""
        gateway = self._gateway
        exchange = Exchange(self, gateway.wire, head.keep_alive and not gateway.draining)
        self._queue.append(exchange)
        if not exchange.keep:
            self._close_after_queue()
        return exchange

    def _refuse_call(self, head: Head, error: PenstockError, here: int) -> None:
        """Answer a call without its body, `here` bytes of it at least; a short one is skipped."""
        exchange = self._place(head)
        if refusal_closes(error, head.length, self._gateway.limits.unread_bytes):
            exchange.keep = False
            self._close_after_queue(unread=True)
        elif self._closing:
            self._close_after_queue(unread=here < head.length)
        elif head.length:
            self._receive(_SKIP, head.length)
        self._predictor.count_refusal(error.code)
        exchange.settle(refusal(error), self._predictor.run_ids.take())
        self.flush()

    # --- requests for the app (app_request.AppConnection) ---

    def _hand_over(self, data: bytes, at: int) -> int:
        """Let the server process have the connection, once all answers before are written."""
        if self._queue:
            self._mode = _HOLD
            return -1
        transport, gateway = self._transport, self._gateway
        gateway.writes.write()
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(0)  # `resume_writing` comes when it is empty
            return -1
        assert gateway.handover is not None
        if self._readable:  # nothing may be read here from now on
            self._readable = False
            transport.pause_reading()
        gateway.handover.give(transport.get_extra_info("socket").fileno(), data[at:])
        self._mode = Mode.END
        transport.abort()  # closes our descriptor; the connection stays
        return len(data)

    def _begin_app(self, head: Head, end: int) -> int:
        if self._queue:
            self._mode = _HOLD
            return -1
        gateway = self._gateway
        gateway.writes.write()
        if self._app is None:
            self._app = gateway.app_side(self._transport, self)
        self._mode = _APP
        gateway.stamp()
        self._app.begin(head, gateway.now)
        return end

    def app_finished(self) -> None:
        """Take the next request."""
        self._mode = _HEAD
        self._since = self._gateway.now
        if self._closing:
            self._end()
        else:
            self._go_on()

    def app_ends(self, *, unread: bool) -> None:
        """End the connection once everything is written."""
        self._close_after_queue(unread=unread)
        self._end()

    def app_refuses(self, error: PenstockError, *, started: bool) -> None:
        """End the connection with `error`, or without a word if the answer has `started`."""
        if self._mode is Mode.END:
            return
        self._mode = Mode.END
        if started:
            self.app_ends(unread=True)
        else:
            self._refuse(error)

    def app_reads(self, wanted: bool) -> None:
        """Let bytes come, or not."""
        self._wanted = wanted
        self._set_reading()
