"""An extra gateway answers byte for byte as the server process does, whatever it is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.codec import memfile
from penstock.codec.gateway_messages import AddPath, AllowKey, RefuseKey, RemovePath
from penstock.codec.worker_messages import Cancel
from penstock.control.forward import ForwardPredictor
from penstock.control.forwarded import ForwardedCalls
from penstock.control.key_text import digest_of
from penstock.control.keys import unknown_key
from penstock.core.errors import Unauthorized
from penstock.server.gateway.handover import Adoption, Handover
from penstock.server.gateway.listen import Gateway


class Beside:
    """An extra gateway beside `front`, in the same process, with real sockets between."""

    def __init__(self, front: Any, keys: dict[bytes, Any]) -> None:
        self.front = front
        self.keys = keys
        self.records = {digest_of(text): record for text, record in keys.items()}
        self.ended: list[str] = []
        front.call(self._begin())

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        front = self.front
        self.calls = ForwardedCalls(
            loop, ours, front.predictor, self._key_of, None, self.ended.append
        )
        self.adoption = Adoption(loop, near, front.gateway)
        self.predictor = ForwardPredictor(loop, theirs, self._heard, self.ended.append)
        for text, record in self.keys.items():
            self.predictor.take(
                AllowKey(
                    record.key_id,
                    digest_of(text),
                    record.prefix,
                    record.scope.value,
                    record.project,
                )
            )
        for path, route in front.predictor.routes.items():
            self.predictor.take(AddPath(path, route.project, route.deployment, route.max_body))
        front.predictor.check_key = self.predictor.check_key  # the same words for the same refusal
        self.handover = Handover(loop, far)
        self.gateway = Gateway(
            self.predictor, None, front.limits, lambda: front.time, handover=self.handover
        )
        await self.gateway.listen(host="127.0.0.1", port=0)

    def _key_of(self, digest: bytes) -> Any:
        if digest not in self.records:
            raise unknown_key()
        return self.records[digest]

    def _heard(self, message: Any) -> None:
        assert isinstance(message, Cancel)
        self.calls.cancel(message.call_ids)

    def tell(self, message: Any) -> None:
        async def take() -> None:
            self.predictor.take(message)

        self.front.call(take())

    def connect(self) -> Any:
        client = type(self.front.connect())(self.gateway.port)
        self.front.clients.append(client)
        return client

    def ask(self, data: bytes) -> Any:
        return self.connect().ask(data)

    def stop(self) -> None:
        for client in self.front.clients:
            client.close()  # else the gateway gives those that it refused time to read that

        async def end() -> None:
            await self.gateway.close(2.0)
            self.calls.close()
            self.predictor.close()
            self.adoption.close()
            self.handover.close()

        self.front.call(end())


@pytest.fixture
def beside(front: Any) -> Iterator[Beside]:
    predictor = front.predictor
    keys = {}
    for text in (
        b"pk_p_01234567_predict",
        b"pk_d_01234567_deploy",
        b"pk_r_01234567_read",
        b"pk_p_01234567_elsewhere",
    ):
        keys[text] = dataclasses.replace(predictor.check_key(text), digest=digest_of(text))
    with pytest.raises(Unauthorized):
        predictor.check_key(b"nobody")
    extra = Beside(front, keys)
    yield extra
    extra.stop()


def test_both_processes_give_the_same_bytes(front: Any, beside: Beside, corpus: Any, parity: Any):
    request = corpus.post(*parity[0], **parity[1])
    assert beside.ask(request).masked() == front.ask(request).masked()


def test_both_refuse_what_is_malformed(front: Any, beside: Beside, malformed: bytes) -> None:
    assert beside.ask(malformed).masked() == front.ask(malformed).masked()


def test_both_refuse_a_malformed_chunked_body(
    front: Any, beside: Beside, malformed_chunks: bytes
) -> None:
    assert beside.ask(malformed_chunks).masked() == front.ask(malformed_chunks).masked()


def test_a_deployment_that_is_starting_is_refused_in_the_same_words(
    front: Any, beside: Beside, corpus: Any
) -> None:
    request = corpus.post(path=b"/v1/default/starting/predict")
    assert beside.ask(request).masked() == front.ask(request).masked()


def test_a_client_that_goes_away_cancels_its_call_at_the_pool(
    front: Any, beside: Beside, corpus: Any
) -> None:
    client = beside.connect()
    client.send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: front.pool.held)
    client.close()
    front.pool.wait_for(lambda: front.pool.cancelled == front.pool.held)


def test_a_gateway_that_dies_has_its_calls_cancelled(
    front: Any, beside: Beside, corpus: Any
) -> None:
    beside.connect().send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: front.pool.held)

    async def die() -> None:
        beside.predictor.close()

    front.call(die())
    front.pool.wait_for(lambda: front.pool.cancelled == front.pool.held)
    assert "closed its socket" in beside.ended


def test_a_revoked_key_is_refused_by_the_server_process_too(
    front: Any, beside: Beside, corpus: Any
) -> None:
    digest = digest_of(b"pk_p_01234567_predict")
    record = beside.records.pop(digest)
    refused = beside.ask(corpus.post())  # the gateway has not heard of it yet
    assert (refused.status, refused.error()) == (401, "unauthorized")
    beside.records[digest] = record
    beside.tell(RefuseKey(digest))
    assert beside.ask(corpus.post()).status == 401


def test_a_path_unknown_to_the_gateway_is_answered_by_the_server_process(
    beside: Beside, corpus: Any
) -> None:
    beside.tell(RemovePath(corpus.PATH))
    assert beside.ask(corpus.post()).status == 200


def test_a_path_that_is_gone_is_refused_though_the_gateway_still_knows_it(
    front: Any, beside: Beside, corpus: Any
) -> None:
    async def remove() -> None:
        front.predictor.remove_route("default", "echo", None)

    front.call(remove())
    assert beside.ask(corpus.post()).status == 404


def test_many_calls_of_one_connection_come_back_in_order(beside: Beside, corpus: Any) -> None:
    client = beside.connect()
    client.send(b"".join(corpus.post(b"[%d]" % n) for n in range(200)))
    seen = [client.read() for _ in range(200)]
    assert [reply.status for reply in seen] == [200] * 200
    assert len({reply.body for reply in seen}) == 200


def test_an_upload_that_begins_at_a_gateway_arrives_whole(beside: Beside) -> None:
    import hashlib

    body = bytes(range(256)) * 8192
    head = b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
    reply = beside.ask(head + body)
    assert reply.body == hashlib.sha256(body).hexdigest().encode()


def _full(*_: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


def _opened() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("what", ["the connection", "what was read from it"])
def test_a_connection_that_cannot_be_handed_over_is_refused(
    front: Any, beside: Beside, corpus: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = _opened()
    client = beside.connect()
    head = b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 40000\r\n\r\n"
    client.send(corpus.post(b"hold") + head + b"x" * 40_000)
    front.pool.wait_for(lambda: front.pool.held)
    front.settle(client)
    where, name = (os, "dup") if what == "the connection" else (memfile, "create")
    monkeypatch.setattr(where, name, _full)
    front.release()
    assert client.read().status == 200
    reply = client.read()
    monkeypatch.undo()
    assert (reply.status, reply.error()) == (429, "overloaded")
    assert client.is_closed()
    for made in front.clients:
        made.close()
    end = time.monotonic() + 60
    while _opened() > before and time.monotonic() < end:
        front.connections()
    assert _opened() == before
