"""Sizes, slow clients, clients that go away, and the end of the server."""

import asyncio
import dataclasses
import json
import os
import socket
import threading

import pytest

from penstock.codec.body_files import Shelf
from penstock.server.gateway.limits import Limits

MIB = 1024 * 1024
_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: test\r\n"


# --- sizes ---


def test_head_fields_over_16_kib_are_refused(front):
    client = front.connect()
    reply = client.ask(_HEALTH + b"X: a\r\nY: " + b"y" * 17_000 + b"\r\n\r\n")
    assert (reply.status, reply.error()) == (431, "headers_too_large")
    assert client.is_closed()


def test_an_endless_head_is_refused_while_it_comes(front):
    client = front.connect().send(_HEALTH)
    client.send(b"X: a\r\n" * 3000)
    assert client.read().status == 431


def test_more_than_100_fields_are_refused(front):
    assert front.ask(_HEALTH + b"X: a\r\n" * 99 + b"\r\n").status == 200
    assert front.ask(_HEALTH + b"X: a\r\n" * 100 + b"\r\n").status == 431


def test_a_head_within_16_kib_is_read(front):
    assert front.ask(_HEALTH + b"X: " + b"x" * 16_000 + b"\r\n\r\n").status == 200


@pytest.mark.parametrize("size", [8193, 70_000])
def test_a_content_type_over_8_kib_is_refused_by_the_gateway_as_by_the_app(front, corpus, size):
    media = b"a/".ljust(size, b"b")
    client = front.connect()
    inline = client.ask(corpus.post(media=media))
    app = front.ask(corpus.post(media=media, path=corpus.APP_PATH))
    assert (inline.status, inline.error()) == (431, "headers_too_large")
    assert client.is_closed()
    assert inline.masked() == app.masked()
    assert front.ask(corpus.post(media=media[:8192])).status == 200


test_a_content_type_over_8_kib_is_refused_by_the_gateway_as_by_the_app.limits = Limits(
    head_bytes=256 * 1024
)


def test_an_address_over_8_kib_is_refused(front):
    client = front.connect()
    reply = client.ask(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (reply.status, reply.error()) == (414, "address_too_long")
    assert client.is_closed()


def test_an_endless_address_is_refused_while_it_comes(front):
    assert front.connect().send(b"GET /" + b"a" * 20_000).read().status == 414


def test_a_body_announced_too_large_is_refused_before_it_comes(front, corpus):
    request = corpus.post(b"x" * 1_000_001)
    client = front.connect().send(request[:-1_000_001])
    reply = client.read()
    assert (reply.status, reply.error()) == (413, "body_too_large")
    assert reply.fields["connection"] == "close"


def test_the_refusal_of_a_large_body_reaches_a_client_that_is_still_sending(front, corpus):
    client = front.connect()
    client.send(corpus.post(b"x" * 3_000_000))
    assert client.read().status == 413
    assert client.is_closed()


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(front, corpus):
    client = front.connect()
    chunks = corpus.chunked(*[b"x" * 50_000] * 21).removesuffix(b"0\r\n\r\n")
    reply = client.ask(chunks)
    assert (reply.status, reply.error()) == (413, "body_too_large")
    assert client.is_closed()


# --- bodies in files ---


@pytest.mark.parametrize(("size", "in_file"), [(262_144, False), (262_145, True), (900_000, True)])
def test_large_bodies_travel_as_a_file(front, corpus, size, in_file):
    body = os.urandom(size)
    pieces = [body[at : at + 65_536] for at in range(0, size, 65_536)]
    answers = [front.ask(corpus.post(body)), front.ask(corpus.chunked(*pieces))]
    assert front.pool.files == [in_file, in_file]
    assert answers[0].masked() == answers[1].masked()
    assert json.loads(answers[0].body)["result"][1] == size


def test_no_descriptor_stays_open(front, corpus):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    front.gateway.shelf = Shelf(kept_bytes=0)
    front.ask(corpus.post(b"x" * 300_000))
    front.clients[-1].close()
    _wait_for_connections(front, 0)
    client = front.connect()
    client.ask(corpus.post())
    before = opened()
    for _ in range(5):
        client.ask(corpus.post(b"x" * 300_000))
        client.ask(corpus.chunked(b"x" * 300_000))
        gone = front.connect().send(corpus.post(b"x" * 300_000)[:-1000])
        front.settle(gone)
        gone.close()
    _wait_for_connections(front, 1)
    assert opened() == before


def _wait_for_connections(front, count):
    deadline = threading.Event()
    for _ in range(6000):
        if front.connections() == count:
            return
        deadline.wait(0.01)
    raise AssertionError(f"{front.connections()} connections are open, not {count}")


# --- slow clients ---


def test_a_head_must_come_within_its_time(front, corpus):
    client = front.connect().send(corpus.post()[:50])
    front.settle(client)
    front.pass_time(9)
    front.pass_time(2)
    reply = client.read()
    assert (reply.status, reply.error()) == (408, "slow_body")
    assert client.is_closed()


def test_bytes_that_trickle_do_not_extend_the_time_of_a_head(front, corpus):
    request = corpus.post()
    client = front.connect()
    for at in range(6):
        client.send(request[at : at + 1])
        front.settle(client)
        front.pass_time(2)
    assert client.read().status == 408


def test_a_body_must_come_within_its_time(front, corpus):
    client = front.connect().send(corpus.post(b"x" * 1000)[:-1])
    front.settle(client)
    front.pass_time(29)
    assert front.connections() == 1
    front.pass_time(2)
    assert client.read().status == 408
    assert client.is_closed()


def test_a_large_body_gets_a_second_more_for_each_mib(front):
    assert Limits().body_time(10 * MIB) == 40.0


def test_a_chunked_predict_body_must_come_within_its_time_though_it_trickles(front, corpus):
    client = front.connect().send(corpus.chunked().removesuffix(b"0\r\n\r\n"))
    for _ in range(4):
        client.send(b"1\r\nx\r\n")
        front.settle(client)
        front.pass_time(8)
    assert client.read().status == 408
    assert client.is_closed()


def test_an_upload_may_take_long_but_not_pause(front):
    client = front.connect()
    client.send(b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n")
    for _ in range(4):
        client.send(b"x")
        front.settle(client)
        front.pass_time(20)
    front.pass_time(20)
    assert client.read().status == 408


def test_a_skipped_body_must_come_within_its_time(front, corpus):
    client = front.connect().send(corpus.post(b"x" * 100, key=None)[:-1])
    assert client.read().status == 401
    front.pass_time(31)
    assert client.read().status == 408


def test_an_idle_connection_is_closed(front, corpus):
    client = front.connect()
    assert client.ask(corpus.post()).status == 200
    front.pass_time(74)
    assert client.ask(corpus.post()).status == 200
    front.pass_time(76)
    assert client.is_closed()


def test_an_idle_connection_of_the_app_is_closed(front):
    client = front.connect()
    assert client.ask(_HEALTH + b"\r\n").status == 200
    front.pass_time(76)
    assert client.is_closed()


def test_a_call_that_is_worked_on_is_not_idle(front, corpus):
    client = front.connect().send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    front.pass_time(1000)
    front.release()
    assert client.read().status == 200


def test_a_refused_client_that_stays_is_cut_off(front, corpus):
    client = front.connect().send(corpus.post(b"x" * 2_000_000)[:1000])
    assert client.read().status == 413
    front.pass_time(3)
    assert client.is_closed()
    _wait_for_connections(front, 0)


def test_a_client_that_does_not_read_is_not_read_from_and_then_cut_off(front, corpus):
    client = front.connect().send(corpus.post(b"large") * 10)
    front.settle(client)
    taken = len(front.pool.files)
    client.send(corpus.post())
    front.settle(client)
    assert len(front.pool.files) == taken
    front.pass_time(1)
    front.pass_time(61)
    _wait_for_connections(front, 0)


def test_a_client_that_reads_late_gets_everything(front, corpus):
    client = front.connect().send(corpus.post(b"large") * 8)
    front.settle(client)
    assert [len(client.read().body) for _ in range(8)] == [3_000_000] * 8


# --- clients that go away ---


def test_a_call_is_cancelled_when_its_client_goes_away(front, corpus):
    client = front.connect().send(corpus.post(b"hold 1") + corpus.post(b"hold 2"))
    front.pool.wait_for(lambda: len(front.pool.held) == 2)
    client.close()
    front.pool.wait_for(lambda: len(front.pool.cancelled) == 2)
    assert front.pool.cancelled == front.pool.held


def test_a_call_through_the_app_is_cancelled_when_its_client_goes_away(front, corpus):
    client = front.connect().send(corpus.chunked(b"hold"))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    client.close()
    front.pool.wait_for(lambda: len(front.pool.cancelled) == 1)
    assert front.pool.cancelled == front.pool.held


def test_the_app_learns_that_its_client_went_away(front):
    client = front.connect()
    client.send(b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nx")
    front.settle(client)
    client.close()
    assert front.app.disconnects.wait(5)


def test_calls_and_errors_are_counted(front, corpus):
    client = front.connect()
    for body in (b"[1]", b"fail", b"[1]"):
        client.ask(corpus.post(body))
    (tally,) = front.predictor.tallies.values()
    assert (tally.calls, tally.errors, tally.answered) == (3, 1, 3)


# --- bodies nobody reads ---


def test_a_short_body_that_the_app_refused_is_read_over(front, corpus):
    client = front.connect()
    client.send(b"PUT /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nab")
    assert client.read().status == 403
    client.send(b"cdef" + corpus.post())
    assert client.read().status == 200


def test_a_long_body_that_the_app_refused_is_not_read(front):
    client = front.connect()
    client.send(b"PUT /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 6000000\r\n\r\nab")
    assert client.read().status == 403
    assert client.is_closed()


# --- the end ---


def test_closing_lets_calls_in_hand_finish_and_closes_idle_connections(front, corpus):
    idle = front.connect()
    assert idle.ask(corpus.post()).status == 200
    busy = front.connect().send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    closing = front.submit(front.gateway.close(5.0))
    front.call(asyncio.sleep(0))
    assert idle.is_closed()
    assert not closing.done()
    front.release()
    reply = busy.read()
    assert reply.status == 200
    assert reply.fields["connection"] == "close"
    assert busy.is_closed()
    closing.result(5)


def test_closing_lets_a_body_that_is_coming_arrive(front, corpus):
    request = corpus.post(b"x" * 100)
    client = front.connect().send(request[:-1])
    front.settle(client)
    closing = front.submit(front.gateway.close(5.0))
    front.call(asyncio.sleep(0))
    client.send(request[-1:])
    reply = client.read()
    assert reply.status == 200
    assert reply.fields["connection"] == "close"
    closing.result(5)


def test_closing_cuts_what_does_not_end_in_time(front, corpus):
    client = front.connect().send(corpus.post(b"hold"))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    front.call(front.gateway.close(0.05))
    assert client.is_closed()
    assert len(front.pool.cancelled) == 1


def test_a_closed_gateway_accepts_nothing(front):
    port = front.gateway.port
    front.call(front.gateway.close(1.0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_an_app_answer_in_the_making_is_finished_while_closing(front):
    client = front.connect()
    client.send(b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nx")
    front.settle(client)
    closing = front.submit(front.gateway.close(5.0))
    front.call(asyncio.sleep(0))
    client.send(b"x")
    assert client.read().status == 200
    assert client.is_closed()
    closing.result(5)


# --- connections of one address ---


def test_one_address_holds_so_many_connections_and_no_more(front, corpus):
    front.gateway.limits = dataclasses.replace(front.limits, connections_per_address=3)
    held = [front.connect() for _ in range(3)]
    assert [client.ask(corpus.post()).status for client in held] == [200, 200, 200]
    refused = front.connect()
    reply = refused.read()
    assert (reply.status, reply.error()) == (429, "overloaded")
    assert "max_connections_per_address" in json.loads(reply.body)["error"]["hint"]
    assert refused.is_closed()
    assert [client.ask(corpus.post()).status for client in held] == [200, 200, 200]


def test_a_connection_that_ends_makes_room_for_another(front, corpus):
    front.gateway.limits = dataclasses.replace(front.limits, connections_per_address=1)
    for _ in range(3):
        client = front.connect()
        assert client.ask(corpus.post(b"[1]", b"Connection: close")).status == 200
        assert client.is_closed()
        while front.connections():
            pass
