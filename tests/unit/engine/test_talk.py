"""A worker that talks without end gets its turn, and so does everybody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from penstock.codec.frames import split_frames
from penstock.codec.memory import Missing, Read, WorkerAnswer, WorkerRequest
from penstock.codec.worker_messages import Cancel, FromWorker, Notice, pack_message, unpack_message
from penstock.core.errors import FrameError
from penstock.engine.base import VersionKey
from penstock.engine.local.talk import Control, serve_memory

KEY = VersionKey("shop", "prices", 1)


async def with_turns(work: Callable[[Callable[[], int]], Awaitable[None]]) -> None:
    """Run `work`, which can ask how many turns others have had."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    try:
        await asyncio.wait_for(work(lambda: turns), 30)
    finally:
        task.cancel()


def test_between_two_messages_of_a_flood_everybody_else_has_a_turn() -> None:
    async def work(turns: Callable[[], int]) -> None:
        ours, theirs = socket.socketpair()
        heard: list[tuple[int, dict[str, Any]]] = []

        def hear(_message: FromWorker, told: dict[str, Any]) -> None:
            heard.append((turns(), told))

        theirs.sendall(pack_message(Notice(b'{"a": 1}')) * 200)
        theirs.close()
        control = Control(ours, hear)
        await control.listen()
        control.close()
        assert [told for _, told in heard] == [{"a": 1}] * 200
        assert len({turn for turn, _ in heard}) == 200

    asyncio.run(with_turns(work))


def test_what_is_said_to_a_worker_that_hung_up_is_dropped() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        control = Control(ours, lambda *_: None)
        listening = asyncio.create_task(control.listen())
        theirs.sendall(pack_message(Notice(b"{}")))
        theirs.close()
        await listening
        for number in range(3):
            control.send(Cancel([number]))
            for _ in range(20):  # it is written, and the socket found closed
                await asyncio.sleep(0)
        control.close()

    uvloop.run(asyncio.wait_for(main(), 30))


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.sendall((2 * 1024 * 1024).to_bytes(4, "little"))
        control = Control(ours, lambda _message, _told: None)
        with theirs, pytest.raises(FrameError, match="2097152 bytes is announced"):
            await asyncio.wait_for(control.listen(), 30)
        control.close()

    asyncio.run(main())


def test_requests_that_come_all_at_once_are_answered_a_few_at_a_time() -> None:
    async def work(turns: Callable[[], int]) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        answered: list[int] = []

        async def answer(_key: VersionKey, _request: WorkerRequest) -> WorkerAnswer:
            answered.append(turns())
            return Missing()

        theirs.sendall(pack_message(Read("deployment", "a")) * 96)
        theirs.shutdown(socket.SHUT_WR)
        await serve_memory(ours, KEY, answer)
        ours.close()
        with theirs:
            said = b"".join(iter(lambda: theirs.recv(65536), b""))
        frames = [unpack_message(f, WorkerAnswer) for f in split_frames(bytearray(said))]
        assert frames == [Missing()] * 96
        assert max(answered.count(turn) for turn in set(answered)) <= 16

    asyncio.run(with_turns(work))
