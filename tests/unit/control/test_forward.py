"""Calls of an extra gateway that cannot be sent, and answers that cannot be handed over."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from penstock.codec.frames import reply_header
from penstock.codec.gateway_messages import AddPath
from penstock.control.forward import ForwardPredictor
from penstock.core.errors import Overloaded
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Body, Call

PATH = b"/v1/default/echo/predict"
KEY = KeyRecord("k", b"\0" * 32, "pk_p_1", Scope.PREDICT, "default", "", 0.0)


class Line:
    """An extra gateway's predictor and the server process's end of its socket."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.ended: list[str] = []
        loop = asyncio.get_running_loop()
        self.predictor = ForwardPredictor(loop, ours, lambda _message: None, self.ended.append)
        self.predictor.take(AddPath(PATH, "default", "echo", 1 << 20))

    def call(self, body: Body, on_done: Callable[[Call, Answer], None]) -> Any:
        return self.predictor.start(self.predictor.routes[PATH], KEY, b"", body, on_done)

    def close(self) -> None:
        self.predictor.close()
        self.theirs.close()


def _reply(call_id: int) -> bytes:
    return reply_header(call_id, 0, 0, b"", b"", 2) + b"{}"


@pytest.mark.parametrize("error", [OSError("No such thing."), KeyError("a defect")])
def test_an_answer_that_cannot_be_handed_over_stops_no_other(error: Exception) -> None:
    async def story() -> None:
        line = Line()
        answered = asyncio.Event()

        def fail(_call: Call, _answer: Answer) -> None:
            raise error

        line.call(Body(b"1"), fail)
        line.call(Body(b"2"), lambda _call, _answer: answered.set())
        line.theirs.sendall(_reply(1) + _reply(2))
        await asyncio.wait_for(answered.wait(), 60)
        line.call(Body(b"3"), lambda _call, _answer: answered.set())
        answered.clear()
        line.theirs.sendall(_reply(3))
        await asyncio.wait_for(answered.wait(), 60)
        assert line.ended == []
        line.close()

    asyncio.run(story())


def test_a_call_that_cannot_be_sent_is_refused_and_its_body_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_fd: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def story() -> None:
        line = Line()
        seen: list[Answer] = []
        body = Body(None, os.memfd_create("body"), 300_000)
        fd = body.fd
        monkeypatch.setattr(os, "dup", full)
        call = line.call(body, lambda _call, answer: seen.append(answer))
        monkeypatch.undo()
        [answer] = seen
        assert answer.code == "overloaded"
        assert isinstance(answer.error, Overloaded)
        assert "Too many open files" in answer.error.message
        assert body.fd == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        line.predictor.cancel(call)  # it waits for nothing any more
        assert line.predictor._unwanted == []
        line.close()

    asyncio.run(story())
