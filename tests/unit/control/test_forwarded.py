"""What comes from an extra gateway and fails in the server process."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from typing import Any

import pytest

from penstock.codec import memfile
from penstock.codec.frames import HAS_FD, INLINE_LIMIT, Reply, call_header, fd_size, read_replies
from penstock.codec.gateway_messages import MEDIA_ERROR
from penstock.control.forwarded import ForwardedCalls
from penstock.engine.base import Answer, Body


@pytest.mark.parametrize("error", [OSError("Nothing is left."), KeyError("a defect")])
def test_a_run_that_cannot_be_made_is_answered_and_its_body_let_go(error: Exception) -> None:
    async def story() -> list[Reply]:
        async def make_run(*_: Any) -> Any:
            raise error

        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        calls = ForwardedCalls(loop, ours, None, None, make_run, lambda _why: None)  # type: ignore[arg-type]
        body = Body(None, os.memfd_create("body"), 0)
        await calls._take_run(7, None, None, b"", body, b"")  # type: ignore[arg-type]
        data = await asyncio.wait_for(loop.sock_recv(theirs, 65536), 10)
        calls.close()
        theirs.close()
        assert body.fd == -1
        replies: list[Reply] = []
        assert read_replies(memoryview(data), replies, MEDIA_ERROR) == len(data)
        return replies

    [reply] = asyncio.run(story())
    assert (reply.call_id, reply.code, reply.media) == (7, b"internal", MEDIA_ERROR)
    assert "its log has the details" in json.loads(reply.body or b"{}")["message"]


async def _replies(theirs: socket.socket) -> list[Reply]:
    loop = asyncio.get_running_loop()
    data = await asyncio.wait_for(loop.sock_recv(theirs, 65536), 60)
    replies: list[Reply] = []
    assert read_replies(memoryview(data), replies, MEDIA_ERROR) == len(data)
    return replies


def test_an_answer_for_which_no_memory_file_is_left_is_refused_in_few_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_parts: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async def story() -> list[Reply]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        calls = ForwardedCalls(loop, ours, None, None, None, lambda _why: None)  # type: ignore[arg-type]
        monkeypatch.setattr(memfile, "create", full)
        large = Answer(body=b"x" * (INLINE_LIMIT + 1))
        calls._answered(7, None, large)  # type: ignore[arg-type]
        replies = await _replies(theirs)
        calls.close()
        theirs.close()
        return replies

    [reply] = asyncio.run(story())
    assert (reply.call_id, reply.code, reply.media) == (7, b"overloaded", MEDIA_ERROR)
    assert "Too many open files" in json.loads(reply.body or b"{}")["message"]


def test_a_call_that_cannot_be_begun_is_answered_its_body_let_go_and_the_next_one_taken() -> None:
    ended: list[str] = []
    asked: list[bytes] = []

    def key_of(digest: bytes) -> Any:
        asked.append(digest)
        raise OSError("Nothing is left.")

    async def story() -> list[Reply]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        calls = ForwardedCalls(loop, ours, None, key_of, None, ended.append)  # type: ignore[arg-type]
        told = b"00 /v1/default/echo/predict\n"
        large = call_header(1, b"r" * 36, HAS_FD, 0, 0, told, 8) + fd_size(300_000)
        small = call_header(2, b"s" * 36, 0, 0, 0, told, 2) + b"[]"
        fd = os.memfd_create("body")
        inode = os.fstat(fd).st_ino
        socket.send_fds(theirs, [large + small], [fd])
        os.close(fd)
        replies = await _replies(theirs)
        assert inode not in _open_inodes()
        calls.close()
        theirs.close()
        return replies

    replies = asyncio.run(story())
    assert [(r.call_id, r.code) for r in replies] == [(1, b"internal"), (2, b"internal")]
    assert (asked, [why for why in ended if why != "closed its socket"]) == ([b"\0"] * 2, [])


def _open_inodes() -> set[int]:
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return {os.stat(name).st_ino for name in names if os.path.exists(name)}
