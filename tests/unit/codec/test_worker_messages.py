from __future__ import annotations

import msgspec
import pytest

from penstock.codec.frames import split_frames
from penstock.codec.memory import MOST_WRITES, WorkerRequest
from penstock.codec.worker_messages import (
    Cancel,
    Failed,
    FromWorker,
    Load,
    Ready,
    Stop,
    ToWorker,
    pack_message,
    unpack_message,
)
from penstock.core.errors import FrameError


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (Load("p", "d", 1, b"{}", {"a": "/b"}, "/s", 1, 64), ToWorker),
        (Cancel([1, 2]), ToWorker),
        (Stop(), ToWorker),
        (Ready(1.5, b'{"a": [1]}'), FromWorker),
        (Failed(b'{"code": "x"}'), FromWorker),
    ],
)
def test_messages_come_back_as_they_were(message, kind):
    buffer = bytearray(pack_message(message) * 2 + b"\1")
    frames = split_frames(buffer)
    assert [unpack_message(frame, kind) for frame in frames] == [message, message]
    assert buffer == b"\1"


def test_a_message_of_the_other_direction_is_refused():
    with pytest.raises(FrameError):
        unpack_message(split_frames(bytearray(pack_message(Stop())))[0], FromWorker)


def test_a_publish_of_too_many_names_is_refused_before_it_is_read():
    write = msgspec.msgpack.encode(["deployment", "a", None])
    for count, taken in ((MOST_WRITES, True), (MOST_WRITES + 1, False)):
        head = b"\x82\xa4type\xa7publish\xa6writes\xdd" + count.to_bytes(4, "big")
        # Of those that are refused none has to be there: their number is looked at first.
        body = head + (write * count if taken else b"")
        if taken:
            assert len(unpack_message(body, WorkerRequest).writes) == count
        else:
            with pytest.raises(FrameError, match="length"):
                unpack_message(body, WorkerRequest)
