"""Runs on their way to the model, which one thread calls for all of them.

Runs hand themselves over from threads and tasks and wait; the model's thread takes all that wait
for the same step at once, so that calls are joined as they are where runs go in step. A run that is
given up while it waits is never taken; one that was taken is held until the model returns.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from time import perf_counter_ns

from penstock.core.errors import InternalError
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.steps import ModelStep


class Visit:
    """One run that waits for the model.

    Attributes:
        step: What it waits for.
        run: The run.
        done: Called in the model's thread once the run has its `value` or `error`.
        context: The run's context, which code of the user's in the model sees.
        since_ns: When it began to wait.
        taken: Whether the model's thread has taken it.
        dropped: Whether it was given up before.
    """

    __slots__ = ("context", "done", "dropped", "run", "since_ns", "step", "taken")

    def __init__(self, step: ModelStep, run: Run, done: Callable[[], None]) -> None:
        self.step = step
        self.run = run
        self.done = done
        self.context: Context = copy_context()
        self.since_ns = perf_counter_ns()
        self.taken = False
        self.dropped = False


class ModelQueue:
    """The runs that wait, and the loop that answers them.

    Args:
        desk: Working directories of the model's thread.
        after: Called in the model's thread after each call of the model.
    """

    def __init__(self, desk: Desk, after: Callable[[], None] = lambda: None) -> None:
        self._desk = desk
        self._after = after
        self._arriving: SimpleQueue[Visit | None] = SimpleQueue()
        self._waiting: dict[ModelStep, list[Visit]] = {}
        self._lock = threading.Lock()

    def put(self, visit: Visit) -> None:
        """Have a run wait for the model."""
        self._arriving.put(visit)

    def drop(self, visit: Visit) -> bool:
        """Give a run up, if it was not taken; return whether that was done now."""
        with self._lock:
            if visit.taken or visit.dropped:
                return False
            visit.dropped = True
            return True

    def end(self) -> None:
        """Have `work` return when it comes to this."""
        self._arriving.put(None)

    def work(self) -> None:
        """Answer runs, until `end`."""
        while self._gather():
            self._answer_one_step()

    def _answer_one_step(self) -> None:
        """Answer the runs that wait for the step that somebody has waited longest for."""
        step = next(iter(self._waiting))
        visits = self._take(self._waiting.pop(step))
        if step.is_joined and visits:
            self._answer(step, visits)
            return
        for visit in visits:
            visit.context.run(self._answer, step, [visit])

    def _gather(self) -> bool:
        """Sort in what has arrived; wait if there is nothing to do. False at the end."""
        try:
            while self._sort_in(self._arriving.get(block=not self._waiting)):
                pass
        except Empty:
            return True
        return False

    def _sort_in(self, visit: Visit | None) -> bool:
        if visit is not None:
            self._waiting.setdefault(visit.step, []).append(visit)
        return visit is not None

    def _take(self, visits: list[Visit]) -> list[Visit]:
        with self._lock:
            taken = [visit for visit in visits if not visit.dropped]
            for visit in taken:
                visit.taken = True
        return taken

    def _answer(self, step: ModelStep, visits: list[Visit]) -> None:
        began = perf_counter_ns()
        first = [len(visit.run.spent_ns) for visit in visits]
        try:
            step.answer([visit.run for visit in visits], self._desk)
        except Exception:  # noqa: BLE001 - a defect of ours: every run goes on all the same
            _blame([visit.run for visit in visits])
        for visit, index in zip(visits, first, strict=True):
            if index < len(visit.run.spent_ns):
                visit.run.spent_ns[index] += began - visit.since_ns
            visit.done()
        self._after()


def _blame(runs: list[Run]) -> None:
    print("penstock: the model's thread met a defect:", file=sys.stderr)  # noqa: T201
    traceback.print_exc()
    for run in runs:
        if run.error is None:
            run.error = InternalError(
                f"Run {run.id} met a defect of Penstock.", hint="The worker's log has the details."
            )
