import pytest

from penstock.codec.frames import ACCEPT_NPY
from penstock.core.errors import AddressTooLong, HeadersTooLarge, RequestError
from penstock.server.gateway.head import CHUNKED, REMEMBERED_HEADS, REMEMBERED_S, HeadReader
from penstock.server.gateway.limits import Limits


@pytest.fixture
def reader():
    return HeadReader(Limits())


def _head(*fields, line=b"POST /p HTTP/1.1"):
    return b"\r\n".join([line, b"Host: x", *fields, b"", b""])


def test_a_predict_head_is_read(reader):
    raw = _head(b"AUTHORIZATION: Bearer k", b"content-type: a/b; c=d", b"Content-Length: 12")
    head = reader.read(raw)
    assert (head.path, head.length, head.hot, head.keep_alive) == (b"/p", 12, True, True)
    assert (head.authorization, head.media_type) == (b"Bearer k", b"a/b; c=d")
    assert head.raw == raw


def test_the_same_bytes_are_parsed_once(reader):
    assert reader.read(_head()) is reader.read(_head())


def test_different_lengths_are_different_heads(reader):
    lengths = [reader.read(_head(b"Content-Length: %d" % n)).length for n in (1, 2, 1)]
    assert lengths == [1, 2, 1]


def test_what_is_remembered_is_bounded(reader):
    for number in range(REMEMBERED_HEADS * 2):
        reader.read(_head(b"X: %d" % number))
    assert len(reader.known) <= REMEMBERED_HEADS
    reader.read(_head(b"X: " + b"x" * 4000))
    assert max(map(len, reader.known)) < 4000


def test_refused_heads_are_not_remembered(reader):
    for _ in range(2):
        with pytest.raises(RequestError):
            reader.read(b"POST /p HTTP/1.1\r\n\r\n")
    assert not reader.known


@pytest.mark.parametrize(
    "raw",
    [
        _head(line=b"GET /p HTTP/1.1"),
        _head(line=b"POST /p HTTP/1.0"),
        _head(b"Transfer-Encoding: chunked"),
        _head(b"Expect: 100-continue"),
        _head(b"Content-Encoding: gzip"),
        _head(b"Content-Type: application/json; charset=UTF-16"),
        _head(b"Content-Type: application/json;charset=utf-32le"),
    ],
)
def test_what_is_out_of_the_usual_is_left_to_the_app(reader, raw):
    assert not reader.read(raw).hot


def test_the_length_of_a_chunked_body_is_not_known(reader):
    assert reader.read(_head(b"Transfer-Encoding: Chunked")).length == CHUNKED


@pytest.mark.parametrize(
    ("accept", "flag"),
    [(b"*/*", 0), (b"application/x-npy", ACCEPT_NPY), (b"a/b, Application/X-NPY", ACCEPT_NPY)],
)
def test_npy_is_answered_when_it_is_named(reader, accept, flag):
    assert reader.read(_head(b"Accept: " + accept)).flags == flag


def test_the_first_of_two_fields_counts(reader):
    assert reader.read(_head(b"Content-Type: a/a", b"Content-Type: b/b")).media_type == b"a/a"


@pytest.mark.parametrize("name", [b"Host: y", b"Authorization: a\r\nAuthorization: b"])
def test_fields_that_decide_must_not_come_twice(reader, name):
    with pytest.raises(RequestError, match="twice"):
        reader.read(_head(name))


def test_http_1_0_and_connection_close_do_not_keep_the_connection(reader):
    assert not reader.read(_head(b"Connection: keep-alive", line=b"POST /p HTTP/1.0")).keep_alive
    assert not reader.read(_head(b"Connection: close")).keep_alive


def test_an_offer_of_another_protocol_is_taken_out_of_what_the_app_sees(reader):
    head = reader.read(_head(b"Connection: upgrade", b"Upgrade: h2c", b"X: y"))
    assert head.raw == _head(b"Connection: upgrade", b"X: y")
    assert head.hot


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_that_ends_early_for_a_lenient_reader_is_refused(reader, ending):
    raw = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0" + ending + b"GET /q HTTP/1.1\r\n\r\n"
    with pytest.raises(RequestError):
        reader.read(raw)


def test_sizes_are_limited(reader):
    with pytest.raises(AddressTooLong):
        reader.read(_head(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"))
    with pytest.raises(HeadersTooLarge):
        reader.read(_head(b"X: " + b"a" * 17_000))
    with pytest.raises(HeadersTooLarge):
        reader.read(_head(*[b"X: a"] * 100))


def test_a_content_type_has_8_kib_at_most():
    reader = HeadReader(Limits(head_bytes=256 * 1024))
    assert len(reader.read(_head(b"Content-Type: " + b"a" * 8192)).media_type) == 8192
    with pytest.raises(HeadersTooLarge, match="Content-Type has more than 8192 bytes"):
        reader.read(_head(b"Content-Type: " + b"a" * 8193))


def test_heads_are_forgotten_every_now_and_then_because_they_hold_keys(reader):
    reader.sweep(0.0)
    reader.read(_head())
    reader.sweep(REMEMBERED_S - 1)
    assert reader.known
    reader.sweep(REMEMBERED_S)
    assert not reader.known
