import random

import httptools
import pytest

from penstock.core.errors import MalformedBody
from penstock.server.gateway.chunked import ChunkedEnd

_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_NEXT = b"GET / HTTP/1.1\r\n"


def _body(rng):
    parts = []
    for _ in range(rng.randrange(6)):
        data = rng.randbytes(rng.choice((1, 2, 15, 16, 300)))
        extension = rng.choice((b"", b"", b";a=b", b';a="x y"'))
        parts.append(b"%x" % len(data) + extension + b"\r\n" + data + b"\r\n")
    return b"".join(parts) + b"0\r\n" + rng.choice((b"", b"X-Sum: 1\r\n")) + b"\r\n"


def _end_by_httptools(body):
    """Feed byte by byte; return how many bytes made the message complete, or None."""

    class Seen:
        complete = False

        def on_message_complete(self):
            self.complete = True

    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(_HEAD)
    for at in range(len(body)):
        try:
            parser.feed_data(body[at : at + 1])
        except httptools.HttpParserError:
            return None
        if seen.complete:
            return at + 1
    return None


def _end(data, size):
    scanner = ChunkedEnd()
    for at in range(0, len(data), size):
        end = scanner.find(data[at : at + size])
        if end >= 0:
            return at + end
    return None


@pytest.mark.parametrize("seed", range(60))
def test_the_end_is_where_the_apps_parser_sees_it(seed):
    rng = random.Random(seed)
    body = _body(rng)
    for size in (1, 2, 7, len(body) + len(_NEXT)):
        assert _end(body + _NEXT, size) == len(body) == _end_by_httptools(body)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_body_never_ends_elsewhere_than_for_the_apps_parser(seed):
    rng = random.Random(seed)
    body = bytearray(_body(rng))
    body[rng.randrange(len(body))] = rng.choice(b"\r\n\t ;0123afg\x00\x0b\xff")
    data = bytes(body) + _NEXT
    try:
        ours = _end(data, rng.choice((1, 3, len(data))))
    except MalformedBody:
        return
    theirs = _end_by_httptools(data)
    assert theirs is None or ours == theirs


def test_the_size_counts_data_only():
    scanner = ChunkedEnd()
    assert scanner.find(b"xx3\r\nabc\r\n10;a\r\n" + b"y" * 16 + b"\r\n0\r\n\r\n", 2) == 39
    assert scanner.size == 19


def test_endless_lines_and_trailers_are_refused():
    with pytest.raises(MalformedBody):
        ChunkedEnd().find(b"1;" + b"a" * 2000)
    with pytest.raises(MalformedBody):
        ChunkedEnd().find(b"0\r\n" + b"X: a\r\n" * 3000)
