"""Runs an engine with real processes inside a test, and checks that it leaves none behind."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from penstock.codec.body_files import Shelf
from penstock.codec.frames import INLINE_LIMIT
from penstock.codec.memfile import create
from penstock.codec.memory import Done, Increment, MemoryAnswer, MemoryRequest, Value
from penstock.engine.base import Answer, Body, Call, FileBody, VersionKey, VersionSpec
from penstock.engine.local.local_engine import LocalEngine
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.pool import LocalPool

CHILD = str(Path(__file__).parents[2] / "programs" / "engine_child.py")

OPTIONS = EngineOptions(
    zygote_command=(sys.executable, CHILD, "zygote"),
    worker_command=(sys.executable, CHILD, "worker"),
    load_timeout_s=60.0,
    spare_delay_s=None,
    overdue_grace_s=0.3,
)


#: Children of the test process that no engine started: servers of other tests.
_strangers: set[int] = set()


def children() -> list[int]:
    own = os.getpid()
    listed = Path(f"/proc/self/task/{own}/children").read_text().split()
    return [int(pid) for pid in listed if int(pid) not in _strangers]


def adopt_no_more() -> None:
    """Let orphans of later tests go to init again: an engine makes its process adopt them."""
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def descriptors() -> Counter[str]:
    """What this process has open, counted by kind."""
    kinds: Counter[str] = Counter()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            kinds[str(fd.readlink()).partition(":")[0]] += 1
        except OSError:
            continue
    return kinds


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


async def until(condition: Callable[[], Any], limit_s: float = 60.0) -> None:
    """Wait for `condition` to become true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


class Bench:
    """An engine and short ways to use it."""

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        self.engine = LocalEngine(self._memory, folder / "scratch", options)
        self.numbers: dict[str, float] = {}
        self.on_line: Callable[[str], None] | None = None
        self._versions = 0
        #: Has files for large bodies that are used again; None: each has a file of its own.
        self.shelf: Shelf | None = None

    async def _memory(self, key: VersionKey, request: MemoryRequest) -> MemoryAnswer:
        if isinstance(request, Increment):
            self.numbers[request.name] = self.numbers.get(request.name, 0) + request.by
            return Done(1)
        return Value(1, None, self.numbers[request.name])

    async def start(self, manifest: dict[str, Any] | None = None, **fields: Any) -> LocalPool:
        self._versions += 1
        key = VersionKey("lab", "flow", self._versions)
        spec = VersionSpec(key, json.dumps(manifest or {}).encode(), {})
        return await self.engine.start(replace(spec, **fields), self.on_line)

    def call(
        self,
        pool: LocalPool,
        body: bytes,
        media: bytes = b"raw",
        timeout_s: float = 10.0,
        caller: str = "",
    ) -> tuple[Call, asyncio.Future[Answer]]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def on_done(call: Call, given: Answer) -> None:
            assert not answer.done(), "a call was answered twice"
            answer.set_result(given)

        now = time.monotonic_ns()
        held = Body(body)
        if len(body) > INLINE_LIMIT and self.shelf is not None:
            file = self.shelf.take("lab/flow", len(body))
            file.view[: len(body)] = body
            held = FileBody(file, len(body))
        elif len(body) > INLINE_LIMIT:
            held = Body(None, *create([body]))
        run_id = str(uuid.uuid4())
        call = Call(run_id, media, held, now, now + int(timeout_s * 1e9), on_done)
        call.caller = caller
        pool.submit(call)
        return call, answer

    def send(self, pool: LocalPool, body: bytes) -> asyncio.Future[Answer]:
        return self.call(pool, body)[1]

    def order(
        self, pool: LocalPool, do: str, timeout_s: float = 10.0, **fields: Any
    ) -> asyncio.Future[Answer]:
        body = json.dumps({"do": do, **fields}).encode()
        return self.call(pool, body, b"order", timeout_s)[1]


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `test(bench)` on a loop of its own; no process and no descriptor may be left."""

    def _run(
        test: Callable[[Bench], Awaitable[None]],
        *,
        loop: str = "uvloop",
        limit_s: float = 180.0,
        **options: Any,
    ) -> None:
        async def main() -> None:
            bench = Bench(tmp_path, replace(OPTIONS, **options))
            try:
                await asyncio.wait_for(test(bench), limit_s)
            finally:
                await bench.engine.close(1.0)
                if bench.shelf is not None:
                    bench.shelf.close()

        uvloop.run(asyncio.sleep(0))  # libuv opens a signal pipe once per process
        before = descriptors()
        _strangers.clear()
        _strangers.update(children())
        (uvloop.run if loop == "uvloop" else asyncio.run)(main())
        adopt_no_more()
        assert children() == []
        assert not descriptors() - before

    return _run


class Tools:
    alive = staticmethod(alive)
    children = staticmethod(children)
    until = staticmethod(until)
    child = CHILD


@pytest.fixture
def tools() -> type[Tools]:
    return Tools
