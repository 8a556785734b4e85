import errno
import os

import pytest

from penstock.codec import memfile
from penstock.codec.body_files import BodyFile, Shelf
from penstock.codec.frames import INLINE_LIMIT
from penstock.core.errors import BodyTooLarge, Overloaded
from penstock.server.gateway.body import BodySink


def _content(body):
    if body.fd < 0:
        return body.data
    try:
        return os.read(body.fd, body.size + 1)
    finally:
        os.close(body.fd)


@pytest.mark.parametrize("expected", [0, INLINE_LIMIT, INLINE_LIMIT + 1])
@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT, INLINE_LIMIT + 1, 3 * INLINE_LIMIT])
def test_what_is_written_comes_out(expected, size):
    data = os.urandom(size)
    sink = BodySink(1 << 30, expected)
    for at in range(0, size, 100_000):
        sink.write(memoryview(data)[at : at + 100_000])
    body = sink.finish()
    assert body.size == size
    assert (body.fd >= 0) == (max(size, expected) > INLINE_LIMIT)
    assert _content(body) == data


def test_the_limit_holds_also_for_bodies_in_a_file():
    sink = BodySink(INLINE_LIMIT * 2)
    sink.write(b"x" * INLINE_LIMIT * 2)
    with pytest.raises(BodyTooLarge) as caught:
        sink.write(b"x")
    assert caught.value.facts["limit_bytes"] == INLINE_LIMIT * 2
    sink.discard()


def test_discarding_closes_the_file_once():
    sink = BodySink(1 << 30, INLINE_LIMIT + 1)
    sink.discard()
    reused = os.open(os.devnull, os.O_RDONLY)
    sink.discard()
    os.close(reused)


def test_discarding_after_finish_leaves_the_body_alone():
    sink = BodySink(1 << 30, INLINE_LIMIT + 1)
    sink.write(b"x")
    body = sink.finish()
    sink.discard()
    assert _content(body) == b"x"


@pytest.mark.parametrize("expected", [0, INLINE_LIMIT + 1])
def test_a_large_body_for_which_no_room_is_left_is_refused(expected, monkeypatch):
    monkeypatch.setattr(memfile, "open_empty", lambda _name: os.open("/dev/full", os.O_WRONLY))
    sink = BodySink(1 << 30, expected)
    with pytest.raises(Overloaded, match="No space left on device"):
        sink.write(b"x" * (INLINE_LIMIT + 1))
    sink.discard()


@pytest.mark.parametrize("when", ["announced", "longer than announced", "handed on"])
def test_a_large_body_for_which_there_is_no_descriptor_is_refused(when, monkeypatch):
    shelf = Shelf() if when == "handed on" else None
    expected = 0 if when == "longer than announced" else INLINE_LIMIT + 1

    def full(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    def take():
        sink = BodySink(1 << 30, expected, shelf, "default/flow")
        sink.write(b"x" * (INLINE_LIMIT + 1))
        monkeypatch.setattr(BodyFile, "descriptor", full)
        sink.finish()

    if shelf is None:
        monkeypatch.setattr(memfile, "open_empty", full)
    with pytest.raises(Overloaded, match="Too many open files"):
        take()
