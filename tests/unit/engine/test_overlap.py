"""Calls that overlap in a worker: each leaves its seat, whatever becomes of its answer."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from no_descriptors import no_descriptors

from penstock.codec.frames import INLINE_LIMIT, Reply, ReplyFrame, call_header, read_replies
from penstock.engine.local import begun
from penstock.engine.local.begun import BegunPage
from penstock.engine.local.overlap import Overlap

RUN = b"0123456789-0123456789-0123456789-012"
NEVER = 1 << 62


class LargeThenSmall:
    """Has one seat, and no descriptor for its first answer, which is large."""

    concurrency = 1

    def __init__(self) -> None:
        self.is_over = False

    def begin(self, seat: Any) -> None:
        call_id = seat.call.call_id
        if call_id == 1:
            with no_descriptors():
                seat.answer(ReplyFrame(call_id, b"", 0, b"", b"y" * (INLINE_LIMIT + 1)))
        else:
            seat.answer(ReplyFrame(call_id, b"", 0, b"", b"small"))

    def end(self) -> None:
        self.is_over = True


def test_an_answer_that_no_file_can_be_made_for_leaves_its_seat_to_the_next_call() -> None:
    ours, theirs = socket.socketpair()
    page = begun.create()
    service: Any = LargeThenSmall()
    overlap = Overlap(theirs, service, BegunPage(page))
    for call_id in (1, 2):
        ours.sendall(call_header(call_id, RUN, 0, 0, NEVER, b"raw", 1) + b"x")
    ours.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=overlap.take_calls, daemon=True)
    thread.start()
    thread.join(60)
    assert service.is_over, "a seat was not given back"
    theirs.close()
    with ours:
        data = b"".join(iter(lambda: ours.recv(65536), b""))
    replies: list[Reply] = []
    read_replies(memoryview(data), replies)
    assert [(reply.call_id, reply.code) for reply in replies] == [(1, b"internal"), (2, b"")]
    os.close(page)
