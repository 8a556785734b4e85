"""Damaged requests: every connection gets answers or an end, and the server goes on."""

import random

import pytest


def _drain(client):
    """Read until the server closes; return the status of each answer."""
    statuses = []
    try:
        while True:
            statuses.append(client.read().status)
    except (EOFError, ConnectionResetError):
        return statuses


@pytest.mark.parametrize("seed", range(40))
def test_damaged_requests_do_no_harm(front, corpus, seed):
    rng = random.Random(seed)
    good = [
        corpus.post(b"[1, 2, 3]"),
        corpus.chunked(b"[1", b"]"),
        corpus.post(path=corpus.APP_PATH),
        b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
    ]
    for _ in range(10):
        data = bytearray(b"".join(rng.choices(good, k=3)))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 5))] = rng.choice(
                (b"", b"\r", b"\n", b" ", b":", b"\x00", b"9", b"\r\n\r\n")
            )
        client = front.connect()
        client.send(bytes(data))
        for _ in range(4):
            front.settle(client)
            front.pass_time(200)
        assert set(_drain(client)) <= {200, 400, 401, 403, 404, 405, 408, 415, 431}
    assert front.ask(corpus.post()).status == 200
