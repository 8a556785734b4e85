"""Large bodies are received into files that are used again: each call still gets its own bytes."""

import hashlib
import json
import os
import random

import pytest

from penstock.codec import memfile


def _seen(reply):
    assert reply.status == 200
    return json.loads(reply.body)["result"][1:]


def _expected(body):
    return [len(body), hashlib.sha256(body).hexdigest()]


def test_bodies_in_pieces_of_any_size_arrive_as_sent_on_one_connection(front, corpus):
    rng = random.Random(3)
    client = front.connect()
    for size in (300_000, 262_145, 999_999, 300_001, 524_288, 524_289):
        body = rng.randbytes(size)
        request = corpus.post(body)
        while request:
            cut = rng.choice((1, 1000, 70_000, 300_000))
            client.send(request[:cut])
            request = request[cut:]
        assert _seen(client.read()) == _expected(body)


def test_what_is_pipelined_behind_a_large_body_is_answered_in_order(front, corpus):
    rng = random.Random(4)
    bodies = [rng.randbytes(size) for size in (300_000, 10, 400_000, 0, 900_000)]
    client = front.connect().send(b"".join(corpus.post(body) for body in bodies))
    for body in bodies:
        assert _seen(client.read()) == _expected(body)


def test_many_connections_at_once_never_share_a_file(front, corpus):
    rng = random.Random(5)
    bodies = [rng.randbytes(270_000 + number) for number in range(24)]
    clients = [front.connect() for _ in bodies]
    for _ in range(3):
        halves = [corpus.post(body) for body in bodies]
        for client, half in zip(clients, halves, strict=True):
            client.send(half[:150_000])
        for client, half in zip(clients, halves, strict=True):
            client.send(half[150_000:])
        for client, body in zip(clients, bodies, strict=True):
            assert _seen(client.read()) == _expected(body)


def test_a_client_that_leaves_amid_its_body_leaves_its_file_to_the_next(front, corpus):
    body = b"n" * 300_000
    gone = front.connect().send(corpus.post(b"o" * 300_000)[:200_000])
    front.settle(gone)
    gone.close()
    front.settle(gone)
    assert _seen(front.ask(corpus.post(body))) == _expected(body)
    assert _seen(front.ask(corpus.post(body[:-1]))) == _expected(body[:-1])


@pytest.mark.parametrize("sent", [1000, 200_000])
def test_a_body_that_comes_too_slowly_is_refused_and_what_follows_is_not_read(front, corpus, sent):
    request = corpus.post(b"s" * 300_000)
    client = front.connect().send(request[:sent])
    front.settle(client)
    front.pass_time(100.0)
    client.send(request[sent : sent + 50_000])
    reply = client.read()
    assert (reply.status, reply.error()) == (408, "slow_body")
    assert client.is_closed()
    body = b"t" * 300_000
    assert _seen(front.ask(corpus.post(body))) == _expected(body)


def _open_on_a_full_disk(_name):
    return os.open("/dev/full", os.O_WRONLY)


def test_a_body_for_which_no_room_is_left_while_it_comes_is_refused(front, corpus, monkeypatch):
    front.gateway.shelf = None
    monkeypatch.setattr(memfile, "open_empty", _open_on_a_full_disk)
    body = b"n" * 300_000
    for request in (corpus.post(body), corpus.chunked(body)):
        reply = front.ask(request)
        assert (reply.status, reply.error()) == (429, "overloaded")
        assert reply.fields["connection"] == "close"
        assert "No space left on device" in json.loads(reply.body)["error"]["message"]
    opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert "/dev/full" not in opened
