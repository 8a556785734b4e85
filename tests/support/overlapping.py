"""A service whose runs overlap, called as a worker's loop calls it, without a server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.core.flow import Flow
from penstock.core.names import new_run_id
from penstock.flow.assemble import assemble_local
from penstock.flow.local_memory import LocalMemory
from penstock.flow.overlap import OverlapService

LIMIT_S = 20.0


class Place:
    """A seat that keeps its answer."""

    def __init__(self, call: CallFrame) -> None:
        self.call = call
        self.places: list[tuple[int, int]] = []
        self.reply: ReplyFrame | None = None
        self.is_left = False
        self._answered = threading.Event()

    def at(self, stage: int, part: int) -> None:
        self.places.append((stage, part))

    def answer(self, reply: ReplyFrame) -> None:
        if not self._answered.is_set():
            self.reply = reply
            self._answered.set()

    def leave(self) -> None:
        self.is_left = not self._answered.is_set()
        self._answered.set()

    def wait(self) -> Place:
        assert self._answered.wait(LIMIT_S), "it was not answered"
        return self

    def body(self) -> dict[str, Any]:
        self.wait()
        assert self.reply is not None
        return msgspec.json.decode(self.reply.body)


class Worker:
    """A service with a thread for its model, as a worker's main thread would be."""

    def __init__(self, flow: list[Any], folder: Path, concurrency: int, max_batch: int) -> None:
        loaded = assemble_local(Flow.parse(flow), max_batch=max_batch)
        self.memory = LocalMemory()
        self.notices: list[dict[str, Any]] = []
        self.service = OverlapService(
            loaded, self.memory.ask, folder, concurrency, notice=self.notices.append
        )
        self._batching = loaded.batching
        self._thread = threading.Thread(target=self.service.work)
        self._thread.start()
        self._calls = 0

    def begin(
        self, data: Any, limit_s: float = 60.0, media_type: str = "application/json"
    ) -> Place:
        """Begin a call; its body is `data` as JSON, or `data` itself if that is bytes."""
        self._calls += 1
        raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
        now = time.monotonic_ns()
        deadline = now + int(limit_s * 1e9)
        call = CallFrame(self._calls, new_run_id(), 0, now, deadline, media_type, raw, len(raw))
        place = Place(call)
        self.service.begin(place)
        return place

    def results(self, *all_data: Any, media_type: str = "application/json") -> list[Any]:
        places = [self.begin(data, media_type=media_type) for data in all_data]
        bodies = [place.body() for place in places]
        assert all("result" in body for body in bodies), bodies
        return [body["result"] for body in bodies]

    def joined_calls(self) -> int:
        """Return the joined calls of the model that has fewest, of those that may be joined."""
        return min(b["joined_calls"] for b in self._batching() if b["state"] != "off")

    def end(self) -> None:
        self.service.end()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
