"""Replies that cannot be taken: the worker is not to blame, and its other calls go on."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from typing import Any

import pytest

from penstock.codec import memfile
from penstock.codec.frames import HAS_FD, Reply, fd_size, reply_header
from penstock.engine.local.channel import Channel

Seen = list[tuple[Reply, Any]]


def _small(call_id: int) -> bytes:
    return reply_header(call_id, 0, 0, b"", b"", 2) + b"{}"


def _send_large(sock: socket.socket, call_id: int) -> None:
    fd, size = memfile.create([b"x" * 300_000])
    socket.send_fds(sock, [reply_header(call_id, HAS_FD, 2, b"", b"", 8) + fd_size(size)], [fd])
    os.close(fd)


async def _until(ready: Any) -> None:
    async def look() -> None:
        while not ready():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), 60)


def test_an_answer_that_there_is_no_room_to_read_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    async def story() -> tuple[Seen, list[str]]:
        seen: Seen = []
        ended: list[str] = []
        ours, theirs = socket.socketpair()
        channel = Channel(asyncio.get_running_loop(), ours, seen.extend, ended.append)
        monkeypatch.setattr(memfile, "read", full)
        _send_large(theirs, 1)
        theirs.sendall(_small(2))
        await _until(lambda: len(seen) == 2)
        channel.close()
        theirs.close()
        return seen, ended

    [(large, told), (small, body)], ended = asyncio.run(story())
    assert (large.call_id, large.code, large.media) == (1, b"overloaded", 0)
    assert "Cannot allocate memory" in json.loads(told)["error"]["message"]
    assert (small.call_id, small.code, body) == (2, b"", b"{}")
    assert ended == []


def test_a_failure_to_hand_replies_over_is_not_taken_for_a_dead_socket() -> None:
    async def story() -> tuple[list[int], list[str]]:
        seen: list[int] = []
        ended: list[str] = []

        def take(replies: Seen) -> None:
            seen.extend(reply.call_id for reply, _ in replies)
            if seen == [1]:
                raise OSError("Nothing is left.")

        ours, theirs = socket.socketpair()
        channel = Channel(asyncio.get_running_loop(), ours, take, ended.append)
        for call_id in (1, 2):
            theirs.sendall(_small(call_id))
            await _until(lambda: ended or seen[-1:] == [call_id])  # noqa: B023 - awaited here
        channel.close()
        theirs.close()
        return seen, ended

    assert asyncio.run(story()) == ([1, 2], [])
