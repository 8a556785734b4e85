from __future__ import annotations

import os
import socket

import msgspec
import pytest
from no_descriptors import no_descriptors

from penstock.codec import memfile
from penstock.codec.body_files import Shelf
from penstock.codec.frames import (
    BODY_FILE,
    HAS_FD,
    INLINE_LIMIT,
    Reply,
    ReplyFrame,
    call_header,
    fd_size,
    read_replies,
)
from penstock.engine.local.intake import Intake, Outbox

RUN = b"0123456789-0123456789-0123456789-012"


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def frame(call_id: int, body: bytes) -> bytes:
    return call_header(call_id, RUN, 2, 5, 9, b"text/plain", len(body)) + body


def test_all_calls_that_wait_are_taken_at_once(pair):
    ours, theirs = pair
    ours.sendall(frame(1, b"one") + frame(2, b"") + frame(3, b"three"))
    calls = Intake(theirs).wait()
    assert [(c.call_id, bytes(c.body)) for c in calls] == [(1, b"one"), (2, b""), (3, b"three")]
    assert calls[0].run_id == RUN.decode()
    assert (calls[0].flags, calls[0].arrived_ns, calls[0].deadline_ns) == (2, 5, 9)
    assert calls[0].media_type == "text/plain"


def test_a_call_in_pieces_is_put_together(pair):
    ours, theirs = pair
    intake = Intake(theirs)
    data = frame(1, b"a" * 100) + frame(2, b"b" * 100)
    ours.sendall(data[:150])
    first = intake.wait() if len(frame(1, b"a" * 100)) <= 150 else []
    ours.sendall(data[150:])
    calls = first + intake.wait()
    while len(calls) < 2:
        calls += intake.wait()
    assert [bytes(c.body) for c in calls] == [b"a" * 100, b"b" * 100]


def test_a_body_stays_what_it_was_after_later_calls(pair):
    ours, theirs = pair
    intake = Intake(theirs)
    ours.sendall(frame(1, b"first"))
    (kept,) = intake.wait()
    ours.sendall(frame(2, b"other"))
    intake.wait()
    assert bytes(kept.body) == b"first"


def test_a_large_body_comes_as_a_view_of_its_file(pair):
    ours, theirs = pair
    fd, size = memfile.create([b"z" * 1_000_000])
    head = call_header(7, RUN, HAS_FD, 0, 0, b"raw", 8) + fd_size(size)
    socket.send_fds(ours, [frame(6, b"before") + head], [fd])
    os.close(fd)
    before, large = Intake(theirs).wait()
    assert bytes(before.body) == b"before"
    assert bytes(large.body) == b"z" * 1_000_000


def test_a_body_in_a_file_that_is_used_again_stays_what_it_was(pair):
    ours, theirs = pair
    intake, file = Intake(theirs), Shelf().take("default/a", 300_000)
    bodies = []
    for number in (1, 2):
        file.view[:300_000] = bytes([number]) * 300_000
        head = call_header(number, RUN, HAS_FD | BODY_FILE, 0, 0, b"raw", 8) + fd_size(300_000)
        fd = file.descriptor()
        socket.send_fds(ours, [head], [fd])
        os.close(fd)
        bodies += [call.body for call in intake.wait()]
    assert bodies == [bytes([number]) * 300_000 for number in (1, 2)]


def test_the_end_of_the_server_ends_the_waiting(pair):
    ours, theirs = pair
    intake = Intake(theirs)
    ours.shutdown(socket.SHUT_WR)
    assert intake.wait() == []
    assert intake.ended


def test_polling_does_not_wait(pair):
    _, theirs = pair
    calls: list[object] = []
    Intake(theirs).poll(calls)
    assert calls == []


def test_small_replies_leave_together_and_a_large_one_as_a_file(pair):
    ours, theirs = pair
    outbox = Outbox(theirs)
    outbox.add(ReplyFrame(1, b"", 0, b"t", b"small"))
    outbox.add(ReplyFrame(2, b"internal", 1, b"", b"y" * (INLINE_LIMIT + 1)))
    outbox.add(ReplyFrame(3, b"", 0, b"", b"last"))
    outbox.flush()
    data, fds = b"", []
    while len(data) < 200 and (not data.endswith(b"last")):
        part, got, _, _ = socket.recv_fds(ours, 65536, 4)
        data, fds = data + part, fds + got
    replies: list[Reply] = []
    assert read_replies(memoryview(data), replies) == len(data)
    assert [(r.call_id, r.code, r.media, r.timing, r.body) for r in replies] == [
        (1, b"", 0, b"t", b"small"),
        (2, b"internal", 1, b"", None),
        (3, b"", 0, b"", b"last"),
    ]
    assert memfile.read(fds[0], replies[1].body_size, trusted=False) == b"y" * (INLINE_LIMIT + 1)
    os.close(fds[0])


def test_a_large_reply_without_a_file_descriptor_becomes_an_error_and_the_others_leave(pair):
    ours, theirs = pair
    outbox = Outbox(theirs)
    outbox.add(ReplyFrame(1, b"", 0, b"t", b"small"))
    with no_descriptors():
        outbox.add(ReplyFrame(2, b"", 1, b"t", b"y" * (INLINE_LIMIT + 1)))
    outbox.add(ReplyFrame(3, b"", 0, b"", b"last"))
    outbox.flush()
    theirs.shutdown(socket.SHUT_WR)
    data = b"".join(iter(lambda: ours.recv(65536), b""))
    replies: list[Reply] = []
    assert read_replies(memoryview(data), replies) == len(data)
    assert [(r.call_id, r.code, r.media, r.timing) for r in replies] == [
        (1, b"", 0, b"t"),
        (2, b"internal", 0, b"t"),
        (3, b"", 0, b""),
    ]
    error = msgspec.json.decode(replies[1].body)["error"]
    assert "Too many open files" in error["message"]
    assert "no file descriptor left" in error["hint"]
