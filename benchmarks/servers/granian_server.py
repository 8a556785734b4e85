"""Granian RSGI (Rust HTTP), no framework: the direct call near-limit. argv: port workers [batch]

`batch` adds the smallest possible greedy batcher: whatever arrived while the
last batch ran is run together on the next turn of the event loop, no waiting.
"""

import asyncio
import os
import sys
from pathlib import Path

import flow
import orjson

JSON = [("content-type", "application/json")]
TAB = VIS = None
if os.environ.get("BENCH_LOAD"):
    TAB, VIS = flow.Tabular(), flow.Vision()


BATCH = os.environ.get("BENCH_GRANIAN_BATCH") == "1"
WAITING = []


def flush():
    todo = WAITING[:]
    WAITING.clear()
    for (_, fut), out in zip(todo, TAB.many([rows for rows, _ in todo]), strict=True):
        if not fut.done():
            fut.set_result(out)


def batched(rows):
    loop = asyncio.get_running_loop()
    fut = loop.create_future()
    if not WAITING:
        loop.call_soon(flush)
    WAITING.append((rows, fut))
    return fut


async def app(scope, proto):
    body = await proto()
    path = scope.path
    if path == "/ab":
        rows = orjson.loads(body)
        out = await batched(rows) if BATCH else TAB.one(rows)
    elif path == "/c":
        out = VIS.one(flow.first_part(body))
    elif path == "/d":
        out = orjson.loads(body)
    else:
        proto.response_empty(404, [])
        return
    proto.response_bytes(200, JSON, orjson.dumps(out))


if __name__ == "__main__":
    from granian import Granian
    from granian.constants import Interfaces, Loops

    os.environ["BENCH_LOAD"] = "1"
    os.environ["BENCH_GRANIAN_BATCH"] = "1" if "batch" in sys.argv else "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    Granian(
        "granian_server:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.RSGI,
        workers=int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        loop=Loops.uvloop,
        log_enabled=False,
        websockets=False,
    ).serve()
