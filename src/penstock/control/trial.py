"""Sends a version's example through its pool, as a real call, before it may become active.

Called by `penstock.control.deploys` between loading and activating.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from penstock.codec import memfile
from penstock.codec.frames import INLINE_LIMIT, SHOW_TRACEBACK
from penstock.core.errors import ExampleFailed
from penstock.core.names import new_run_id
from penstock.engine.base import Answer, Body, Call, Pool


async def run_example(pool: Pool, media_type: str, body: bytes, timeout_s: float) -> None:
    """Send one request to `pool` and require an answer without an error.

    Args:
        pool: The candidate's replicas.
        media_type: Content-Type of the example.
        body: The example's bytes, exactly as a caller would send them.
        timeout_s: Seconds the call may take.

    Raises:
        ExampleFailed: The answer is an error; stage, function, type and message are the error's.
    """
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(_call: Call, answer: Answer) -> None:
        if not done.done():
            done.set_result(answer)

    now = time.monotonic_ns()
    call = Call(
        new_run_id(),
        media_type.encode("latin-1", "replace"),
        example_body(body),
        now,
        now + int(timeout_s * 1e9),
        settle,
        SHOW_TRACEBACK,
    )
    pool.submit(call)
    answer = await done
    if answer.code or answer.error is not None:
        raise example_failed(_error_of(answer))


def example_failed(error: dict[str, Any]) -> ExampleFailed:
    """Return the error for an example that was answered with the error object `error`."""
    return ExampleFailed(
        f"The version loaded, but its example failed: {error.get('message', 'no message')}",
        stage=error.get("stage"),
        function=error.get("function"),
        type=error.get("type"),
        hint=error.get("hint"),
        traceback=error.get("traceback"),
        cause=error.get("code"),
    )


def example_body(data: bytes) -> Body:
    """Return `data` as a call's body: inline, or in a memory file when it is large."""
    if len(data) <= INLINE_LIMIT:
        return Body(data)
    return Body(None, *memfile.create([data]))


def _error_of(answer: Answer) -> dict[str, Any]:
    if answer.error is not None:
        return answer.error.to_dict(with_traceback=True)
    try:
        found: dict[str, Any] = msgspec.json.decode(bytes(answer.body))["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return {"code": answer.code, "message": f"the answer was the error {answer.code}."}
    return found
