from __future__ import annotations

import random
import struct

import pytest

from penstock.codec.frames import (
    FRAME_LIMIT,
    HAS_FD,
    Reply,
    call_header,
    fd_size,
    read_calls,
    read_replies,
    reply_header,
)
from penstock.core.errors import FrameError

RUN = b"r" * 36


def test_calls_are_read_up_to_the_last_whole_one():
    one = call_header(1, RUN, 2, -5, 7, b"a/b", 2) + b"xy"
    two = call_header(2, RUN, HAS_FD, 0, 0, b"", 8) + fd_size(99)
    calls: list[object] = []
    assert read_calls(one + two + one[:-1], calls) == len(one) + len(two)
    first, second = calls
    assert first[:6] == (1, "r" * 36, 2, -5, 7, "a/b")
    assert (bytes(first.body), first.body_size) == (b"xy", 2)
    assert (second.body, second.body_size) == (None, 99)


def test_replies_are_read_up_to_the_last_whole_one():
    one = reply_header(1, 0, 1, b"bad", b"t;dur=1", 2) + b"xy"
    replies: list[Reply] = []
    assert read_replies(memoryview(one + one[:-1]), replies) == len(one)
    assert replies == [Reply(1, 1, b"bad", b"t;dur=1", b"xy", 2)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        struct.pack("<I", FRAME_LIMIT + 1) + b"\0" * 60,
        struct.pack("<I", 3) + b"\2\0\0",
        reply_header(1, 0, 0, b"", b"", 0)[:4] + b"\1" + b"\0" * 20,
        reply_header(1, HAS_FD, 0, b"", b"", 3) + b"abc",
        struct.pack("<IBBBBHQ", 14, 2, 0, 0, 255, 65535, 1),
    ],
)
def test_garbage_is_a_frame_error(data):
    with pytest.raises(FrameError):
        read_replies(memoryview(data), [])
    with pytest.raises(FrameError):
        read_calls(data[:4] + b"\7" + data[5:] + b"\0" * 80, [])


@pytest.mark.parametrize(
    ("media", "timing"),
    [
        (4, b""),
        (200, b"total;dur=1"),
        (0, b"a\r\nset-cookie: session=x"),
        (0, b"a\nx: y"),
        (0, b"a\x00"),
        (0, "dur=½".encode()),
    ],
)
def test_a_reply_that_would_become_another_answer_is_a_frame_error(media: int, timing: bytes):
    data = reply_header(1, 0, media, b"", timing, 2) + b"[]"
    with pytest.raises(FrameError, match="no answer may have"):
        read_replies(memoryview(data), [])


def test_random_bytes_never_do_worse_than_a_frame_error():
    rng = random.Random(7)
    for _ in range(3000):
        size = rng.randrange(60)
        data = struct.pack("<I", size) + bytes(rng.choice([0, 1, 2, 255]) for _ in range(size))
        for read, given in ((read_replies, memoryview(data)), (read_calls, data)):
            try:
                taken = read(given, [])
            except FrameError:
                continue
            assert 0 <= taken <= len(data)
