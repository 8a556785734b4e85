"""The protocol with a transport that only remembers, for what a socket cannot show."""

import asyncio
import errno
import gc
import json

from penstock.codec.body_files import Shelf
from penstock.control.predict import Predictor
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, VersionKey
from penstock.server.gateway.listen import Gateway
from penstock.server.gateway.protocol import GatewayProtocol
from penstock.server.gateway.run_desk import RunDesk
from penstock.server.gateway.writes import Writes

KEY = KeyRecord("k", b"", "pk_p_1", Scope.PREDICT, "default", "", 0.0)
REQUEST = (
    b"POST /v1/default/echo/predict HTTP/1.1\r\nHost: x\r\nAuthorization: k\r\n"
    b"Content-Length: 3\r\n\r\n[1]"
)


class Pool:
    key = VersionKey("default", "echo", 1)

    def __init__(self):
        self.calls = []

    def submit(self, call):
        self.calls.append(call)

    def answer(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call.on_done(call, Answer(body=b"{}"))


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self._written = []
        self.later = []
        self.reading = True
        self.closed = False

    @property
    def written(self):
        """What was written once the turn of the loop is over."""
        while self.later:
            self.later.pop()()
        return self._written

    def write(self, data):
        self._written.append(data)

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def can_write_eof(self):
        return False

    def close(self):
        self.closed = True


async def _app(scope, receive, send):
    raise AssertionError("nothing here is for the app")


def _connect():
    pool = Pool()
    predictor = Predictor(lambda _authorization: KEY)
    predictor.set_route("default", "echo", None, pool, 1.0)
    gateway = Gateway(predictor, _app)
    transport = Transport()
    gateway.writes = Writes(transport.later.append)
    protocol = GatewayProtocol(gateway)
    protocol.connection_made(transport)
    return protocol, transport, pool


def test_one_answer_is_one_write():
    protocol, transport, pool = _connect()
    for _ in range(3):
        protocol.data_received(REQUEST)
        pool.answer()
    assert [data.startswith(b"HTTP/1.1 200 OK\r\n") for data in transport.written] == [True] * 3


def test_a_call_leaves_nothing_for_the_garbage_collector():
    protocol, _transport, pool = _connect()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            protocol.data_received(REQUEST)
            pool.answer()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_no_more_than_32_pipelined_calls_are_worked_on_at_once():
    protocol, transport, pool = _connect()
    protocol.data_received(REQUEST * 100)
    assert len(pool.calls) == 32
    pool.answer()
    assert len(pool.calls) == 32
    pool.answer()
    pool.answer()
    pool.answer()
    assert len(transport.written) == 100


def test_a_client_that_sends_far_ahead_is_made_to_wait():
    protocol, transport, pool = _connect()
    protocol.data_received(REQUEST * 32)
    for _ in range(20):
        protocol.data_received(REQUEST * 100)
    assert not transport.reading
    while pool.calls:
        pool.answer()
    assert transport.reading
    assert len(transport.written) == 2032


def test_nothing_is_taken_while_the_client_does_not_read():
    protocol, transport, pool = _connect()
    protocol.pause_writing()
    assert not transport.reading
    protocol.data_received(REQUEST * 2)
    assert not pool.calls
    protocol.resume_writing()
    assert transport.reading
    assert len(pool.calls) == 2


def test_an_answer_in_the_same_turn_as_its_call_is_written():
    protocol, transport, pool = _connect()
    pool.submit = lambda call: call.on_done(call, Answer(body=b"{}"))
    protocol.data_received(REQUEST * 100)
    assert len(transport.written) == 100


def test_a_request_whose_webhook_cannot_be_looked_for_is_answered():
    class Broken:
        async def webhook(self, _media_type, _body):
            raise OSError(errno.EMFILE, "Too many open files")

    async def story():
        protocol, transport, pool = _connect()
        protocol._gateway.desk = Broken()
        body = b'{"data": [1], "webhook_endpoint": "https://a.example/"}'
        head = REQUEST.replace(b"Content-Length: 3", b"Content-Length: %d" % len(body))
        protocol.data_received(head[:-3] + body)
        while not transport.written:  # noqa: ASYNC110
            await asyncio.sleep(0)
        (answer,) = transport.written
        told, _, body = answer.partition(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 500 ")
        assert json.loads(body)["error"]["code"] == "internal"
        assert not pool.calls

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_large_body_for_which_there_is_no_file_is_refused(monkeypatch):
    def full(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    protocol, transport, pool = _connect()
    monkeypatch.setattr(Shelf, "take", full)
    head = REQUEST.replace(b"Content-Length: 3", b"Content-Length: 1000000")
    protocol.data_received(head)
    assert transport.written[0].startswith(b"HTTP/1.1 429 ")
    assert not pool.calls


def test_a_call_to_a_deployment_that_starts_counts_once():
    checked = []
    protocol, transport, pool = _connect()
    predictor = protocol._gateway.predictor
    predictor.check_key = lambda authorization: checked.append(authorization) or KEY
    predictor.set_starting("default", "echo")
    protocol._gateway.desk = RunDesk(runs=None)
    protocol.data_received(REQUEST)
    assert transport.written[0].startswith(b"HTTP/1.1 503 ")
    assert len(checked) == 1
    assert not pool.calls
