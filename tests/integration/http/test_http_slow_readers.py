"""Clients that read late where the connection ends: they get all of it, or are cut off in time."""

import asyncio
import socket
import ssl

import certificates
import pytest

from penstock.engine.base import Answer
from penstock.server.gateway.listen import create_server
from penstock.server.gateway.writes import unsent_bytes

#: What the kernel takes at each end, and an answer of which the rest is less than pauses writing.
SEND_BYTES, RECEIVE_BYTES, ANSWER = 16 * 1024, 4096, b"M" * 80_000
PAUSES_WRITING = 64 * 1024


def _narrow(gateway):
    for listening in gateway.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


def _answer(front):
    """Answer the call that is held."""
    front.pool.wait_for(lambda: front.pool.held)
    call = front.pool.held.pop()

    async def answer():
        call.on_done(call, Answer(body=ANSWER))

    front.call(answer())


def _unsent(front, gateway):
    async def look():
        [connection] = gateway.connections
        return unsent_bytes(connection._transport)

    return front.call(look())


def _close_after_answer(front, client, corpus):
    client.send(corpus.post(b"hold", b"Connection: close"))
    _answer(front)


def _close_while_draining(front, client, corpus):
    client.send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: front.pool.held)
    front.submit(front.gateway.close(60.0))
    _answer(front)


def _close_when_idle(front, client, corpus):
    client.send(corpus.post(b"hold"))
    _answer(front)
    front.pass_time(76)


@pytest.mark.parametrize("end", [_close_after_answer, _close_while_draining, _close_when_idle])
def test_a_client_that_reads_late_gets_the_whole_last_answer(front, corpus, end):
    _narrow(front.gateway)
    client = front.connect(RECEIVE_BYTES)
    end(front, client, corpus)
    assert 0 < _unsent(front, front.gateway) <= PAUSES_WRITING
    for _ in range(4):
        front.pass_time(front.limits.linger_s + 1)
    assert client.read().body == ANSWER
    assert client.is_closed()


def test_a_client_that_never_reads_the_last_answer_is_cut_off(front, corpus):
    _narrow(front.gateway)
    client = front.connect(RECEIVE_BYTES)
    _close_after_answer(front, client, corpus)
    front.pass_time(front.limits.linger_s + 1)
    assert front.connections() == 1
    front.pass_time(front.limits.stall_s + 1)
    with pytest.raises((EOFError, ConnectionResetError)):
        client.read()


def _encrypted(front, folder):
    """Return a gateway beside that of `front` that speaks TLS, and a connection to it."""
    pair = certificates.make(folder)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(pair.cert, pair.key)
    theirs = ssl.create_default_context(cafile=str(pair.cert))
    gateway = front.call(
        create_server(front.predictor, front.app.app, limits=front.limits, tls=ours)
    )
    gateway._clock = lambda: front.time
    gateway.now = front.time
    _narrow(gateway)
    client = type(front.connect())(gateway.port, RECEIVE_BYTES)
    client.socket = theirs.wrap_socket(client.socket, server_hostname="localhost")
    return gateway, client


def test_a_client_that_reads_late_gets_the_whole_last_answer_over_tls(
    front, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(asyncio.constants, "SSL_SHUTDOWN_TIMEOUT", 0.001)
    gateway, client = _encrypted(front, tmp_path)
    client.send(corpus.post(b"hold", b"Connection: close"))
    _answer(front)
    assert _unsent(front, gateway) > 0

    async def pass_time():
        front.time += front.limits.linger_s + 1
        gateway.sweep()
        await asyncio.sleep(0.01)

    for _ in range(4):
        front.call(pass_time())
    assert client.read().body == ANSWER
    client.close()
    front.call(gateway.close(1.0))


# --- bodies of refused calls that come later ---


def _send_in_pieces(client, body):
    for at in range(0, len(body), 20_000):
        client.send(body[at : at + 20_000])


def test_a_refusal_that_closes_is_read_by_a_client_that_sends_its_body_first(front, corpus):
    body = b"x" * 200_000
    request = corpus.post(body, b"Connection: close", key=b"Bearer nobody")
    client = front.connect().send(request.removesuffix(body))
    front.settle(client)
    _send_in_pieces(client, body)
    reply = client.read()
    assert (reply.status, reply.error()) == (401, "unauthorized")
    assert reply.fields["connection"] == "close"
    assert client.is_closed()


def test_a_refusal_is_read_by_a_client_that_sends_its_body_to_a_closing_server(front, corpus):
    body = b"x" * 200_000
    client = front.connect().send(corpus.post(body, key=None).removesuffix(body))
    front.settle(client)
    closing = front.submit(front.gateway.close(60.0))
    front.call(asyncio.sleep(0))
    _send_in_pieces(client, body)
    assert client.read().status == 401
    assert client.is_closed()
    client.close()
    closing.result(60)
