"""Where requests begin and end: every way to cut them, and every way to get it wrong."""

import json

import pytest


def test_a_predict_call_is_answered_with_its_run_id(front, corpus):
    reply = front.ask(corpus.post(b"[1, 2]"))
    assert reply.status == 200
    told = json.loads(reply.body)
    assert told["result"][:2] == ["application/json", 6]
    assert reply.fields["penstock-run-id"] == told["run_id"]
    assert reply.fields["server-timing"].startswith("queue;dur=")
    assert reply.fields["content-type"] == "application/json"
    assert reply.fields["date"].endswith(" GMT")


def test_a_version_is_called_by_its_number(front, corpus):
    assert front.ask(corpus.post(path=b"/v1/default/echo/versions/1/predict")).status == 200


def test_a_version_that_does_not_run_is_woken(front, corpus):
    client = front.connect()
    assert client.ask(corpus.post(path=b"/v1/default/echo/versions/7/predict")).status == 200
    assert client.ask(corpus.post(path=b"/v1/default/echo/versions/8/predict")).status == 404


def test_a_request_may_come_in_any_two_pieces(front, corpus):
    request = corpus.post(b"[1, 2, 3]")
    client = front.connect()
    whole = client.ask(request).masked()
    for cut in range(1, len(request)):
        client.send(request[:cut])
        client.send(request[cut:])
        assert client.read().masked() == whole, cut


def test_a_request_may_come_byte_by_byte(front, corpus):
    client = front.connect()
    for request in (corpus.post(b"[1, 2, 3]"), corpus.chunked(b"[1, ", b"2]")):
        for at in range(len(request)):
            client.send(request[at : at + 1])
        assert client.read().status == 200


def test_pipelined_requests_are_answered_in_order(front, corpus):
    bodies = [b"%d" % number * (number + 1) for number in range(50)]
    client = front.connect().send(b"".join(corpus.post(body) for body in bodies))
    sizes = [json.loads(client.read().body)["result"][1] for _ in bodies]
    assert sizes == [len(body) for body in bodies]


def test_an_answer_that_is_early_waits_for_the_one_before_it(front, corpus):
    client = front.connect().send(corpus.post(b"hold") + corpus.post(b"1234567"))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    front.settle(client)
    front.release()
    assert json.loads(client.read().body)["result"][1] == 4
    assert json.loads(client.read().body)["result"][1] == 7


def test_refusals_keep_their_place_in_a_pipeline(front, corpus):
    client = front.connect().send(
        corpus.post(b"hold") + corpus.post(key=None) + corpus.post(b"last")
    )
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    front.settle(client)
    front.release()
    assert [client.read().status for _ in range(3)] == [200, 401, 200]


def test_one_connection_serves_predict_calls_and_everything_else(front, corpus):
    health = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
    requests = [
        (corpus.post(), 200),
        (health, 200),
        (corpus.post(b"hold"), 200),
        (health, 200),
        (corpus.chunked(b"[1]"), 200),
        (corpus.post(b"x" * 300_000), 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (corpus.post(path=corpus.APP_PATH), 200),
        (corpus.post(), 200),
    ]
    client = front.connect().send(b"".join(request for request, _ in requests))
    front.pool.wait_for(lambda: len(front.pool.held) == 1)
    front.release()
    assert [client.read().status for _ in requests] == [status for _, status in requests]


def test_a_mixed_pipeline_may_be_cut_anywhere(front, corpus):
    requests = (
        corpus.post(b"[1]")
        + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
        + corpus.chunked(b"[1", b"]")
        + corpus.post(b"[2]", path=corpus.APP_PATH)
    )
    client = front.connect()
    for cut in range(1, len(requests), 3):
        client.send(requests[:cut]).send(requests[cut:])
        assert [client.read().status for _ in range(4)] == [200] * 4


def test_empty_lines_before_a_request_are_ignored(front, corpus):
    client = front.connect().send(b"\r\n\r\n" + corpus.post() + b"\r\n" + corpus.post())
    assert [client.read().status for _ in range(2)] == [200, 200]


def test_malformed_requests_get_one_answer_and_a_closed_connection(front, malformed):
    client = front.connect()
    reply = client.ask(malformed)
    assert reply.status == 400
    assert reply.error() == "bad_request"
    assert reply.fields["connection"] == "close"
    assert client.is_closed()


def test_malformed_requests_are_refused_behind_a_good_one_too(front, corpus, malformed):
    client = front.connect().send(corpus.post() + malformed)
    assert [client.read().status for _ in range(2)] == [200, 400]
    assert client.is_closed()


def test_malformed_chunks_get_one_answer_and_a_closed_connection(front, malformed_chunks):
    client = front.connect()
    reply = client.ask(malformed_chunks)
    assert reply.status == 400
    assert reply.error() == "malformed_body"
    assert client.is_closed()


def test_malformed_chunks_are_refused_when_they_come_byte_by_byte(front, corpus):
    client = front.connect()
    for byte in corpus.MALFORMED_CHUNKS["a chunk longer than its size"]:
        try:
            client.send(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            break
    assert client.read().status == 400


def test_chunk_extensions_and_trailers_are_passed_over(front, corpus):
    head = corpus.chunked().removesuffix(b"0\r\n\r\n")
    client = front.connect()
    body = b'3;name="a value"\r\n[1]\r\n000;x\r\nX-Sum: 1\r\n\r\n'
    reply = client.ask(head + body)
    assert json.loads(reply.body)["result"][1] == 3
    assert client.ask(corpus.post()).status == 200


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
def test_other_methods_of_a_predict_path_are_not_allowed(front, corpus, method):
    client = front.connect()
    reply = client.ask(method + b" " + corpus.PATH + b" HTTP/1.1\r\nHost: test\r\n\r\n")
    assert reply.status == 405
    assert reply.fields["allow"] == "POST"
    assert client.ask(corpus.post()).status == 200


def test_head_of_a_predict_path_has_no_body(front, corpus):
    client = front.connect()
    client.send(b"HEAD " + corpus.PATH + b" HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.read(head_only=True).status == 405
    assert client.ask(corpus.post()).status == 200


def test_http_1_0_is_answered_and_closed(front, corpus):
    request = corpus.post().replace(b"HTTP/1.1", b"HTTP/1.0")
    client = front.connect()
    reply = client.ask(request)
    assert reply.status == 200
    assert reply.fields["connection"] == "close"
    assert client.is_closed()


def test_http_1_0_needs_no_host(front, corpus):
    request = corpus.post().replace(b"HTTP/1.1\r\nHost: test", b"HTTP/1.0")
    assert front.ask(request).status == 200


def test_connection_close_is_honoured(front, corpus):
    client = front.connect()
    reply = client.ask(corpus.post(b"[1]", b"Connection: close") + corpus.post())
    assert reply.fields["connection"] == "close"
    assert client.is_closed()


def test_expect_continue_is_answered_before_the_body_is_sent(front, corpus):
    request = corpus.post(b"[1, 2]", b"Expect: 100-continue")
    client = front.connect().send(request[:-6])
    assert client.read().status == 100
    assert client.ask(request[-6:]).status == 200
    assert client.ask(corpus.post()).status == 200


def test_expect_continue_is_not_encouraged_without_a_key(front, corpus):
    request = corpus.post(b"[1, 2]", b"Expect: 100-continue", key=None)
    client = front.connect().send(request[:-6])
    assert client.read().status == 401


def test_an_offer_of_another_protocol_is_declined(front, corpus):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    client = front.connect()
    assert client.ask(b"GET /healthz HTTP/1.1\r\nHost: test\r\n" + offer + b"\r\n").status == 200
    body = b"PUT /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n" + offer + b"\r\nabc"
    assert client.ask(body).body.startswith(b"ba7816bf")
    assert client.ask(corpus.post()).status == 200


def test_a_streamed_answer_of_the_app_passes(front, corpus):
    client = front.connect()
    reply = client.ask(b"GET /lines HTTP/1.1\r\nHost: test\r\n\r\n")
    assert reply.body == b"2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n"
    assert client.ask(corpus.post()).status == 200


def test_a_refused_call_sent_again_and_again_leaves_the_connection_in_order(front, corpus):
    client = front.connect()
    for _ in range(3):
        assert client.ask(corpus.post(key=b"Bearer nobody")).status == 401
    assert client.ask(corpus.post()).status == 200
