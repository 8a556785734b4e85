"""What comes from an extra gateway and fails in the server process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import Any

import pytest

from penstock.codec.frames import Reply, read_replies
from penstock.codec.gateway_messages import MEDIA_ERROR
from penstock.control.forwarded import ForwardedCalls
from penstock.engine.base import Body


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
