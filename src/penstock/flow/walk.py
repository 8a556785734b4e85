"""One run on its own way through a worker that overlaps its runs.

`penstock.flow.overlap` makes a `Walk` for each call. The run's thread or task works on it; any
thread may say that nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.flow.context import Run
from penstock.flow.function_threads import Job
from penstock.flow.model_queue import ModelQueue, Visit
from penstock.flow.steps import ModelStep


class Seat(Protocol):
    """Where a call sits in the worker; see `penstock.engine.local.loader.Seat`."""

    @property
    def call(self) -> CallFrame:
        """The call."""

    def at(self, stage: int, part: int) -> None:
        """Say where the call is."""

    def answer(self, reply: ReplyFrame) -> None:
        """Answer the call; only the first answer counts."""

    def leave(self) -> None:
        """Answer a call that nobody waits for any more."""


class Walk:
    """A call on its way.

    Attributes:
        seat: Where its answer goes.
        call: The call.
        began_ns: `time.monotonic_ns()` when its way began.
        visit: Its visit to the model, while it is on one. Say `give_up` before looking here; look
            at `unwanted` after clearing it.
        job: What a thread does for it, while one does.
        task: The task that works on it, if a task does.
        is_cancelled: Whether its task was cancelled.
        is_lost: Whether it was answered although its task still runs.
        outer: The call's way, of a way through a branch.
        branches: Its ways through branches, while it goes through several at once.
    """

    __slots__ = (
        "_gave_up", "began_ns", "branches", "call", "is_cancelled", "is_lost", "job", "outer",
        "seat", "task", "visit",
    )  # fmt: skip

    def __init__(self, seat: Seat, outer: Walk | None = None) -> None:
        self.seat = seat
        self.call = seat.call
        self.outer = outer
        self.branches: list[Walk] = []
        self.began_ns: int = 0 if outer is None else outer.began_ns
        self._gave_up = False
        self.visit: Visit | None = None
        self.job: Job | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_cancelled = False
        self.is_lost = False

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for its answer any more; who works on it stops at the next step."""
        return self._gave_up or (self.outer is not None and self.outer.unwanted)

    def give_up(self) -> None:
        """Say that nobody waits any more."""
        self._gave_up = True

    def is_late(self) -> bool:
        """Whether its time limit has passed."""
        return 0 < self.call.deadline_ns <= time.monotonic_ns()

    def visit_model(self, models: ModelQueue, step: ModelStep, run: Run) -> None:
        """Have the model's thread answer a step; block until it did, or the run is given up."""
        gate = threading.Lock()
        gate.acquire()
        self._visit(models, step, run, gate.release)
        gate.acquire()
        self.visit = None

    async def await_model(self, models: ModelQueue, step: ModelStep, run: Run) -> None:
        """Have the model's thread answer a step; wait until it did, or the run is given up."""
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        self._visit(models, step, run, lambda: _tell(loop, answered))
        await answered.wait()
        self.visit = None

    def _visit(
        self, models: ModelQueue, step: ModelStep, run: Run, done: Callable[[], None]
    ) -> None:
        self.visit = Visit(step, run, done)
        models.put(self.visit)

    def leave_model(self, models: ModelQueue) -> bool:
        """Return whether it is with the model; if it only waits there, have it go on at once."""
        visit = self.visit
        if visit is None:
            return False
        if models.drop(visit):
            visit.done()
        return True


def _tell(loop: asyncio.AbstractEventLoop, answered: asyncio.Event) -> None:
    loop.call_soon_threadsafe(answered.set)
