"""Answers calls that overlap, because their functions wait for something.

The worker's loop (`penstock.engine.local.overlap`) hands over one call after the other. If all
functions of the flow are plain, each run has a thread for its whole way; if one is `async def`,
each run is a task on one event loop and its plain functions run in threads. Models are called in
the main thread (`penstock.flow.model_queue`). A run's context, with its memory and folder, is its
thread's or task's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import Any

from penstock.flow import branch_walk
from penstock.flow.async_function import AsyncProcessing
from penstock.flow.combine import ReadyCombination
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.event_loop import LoopThread
from penstock.flow.finisher import Finisher
from penstock.flow.folders import OWN_FOLDER, Folders, remove
from penstock.flow.function_threads import (
    FunctionThreads,
    Job,
    SharedDesk,
    cpu_seconds,
    go_to,
)
from penstock.flow.loaded import LoadedFlow, plain_output
from penstock.flow.model_queue import ModelQueue
from penstock.flow.processing import Processing
from penstock.flow.service import FlowService, defect
from penstock.flow.space import Ask
from penstock.flow.steps import BranchStep, FunctionStep, ModelStep, Step, steps_of
from penstock.flow.walk import Seat, Walk

#: Seconds a cancelled task gets to end before its call is answered without it.
_PATIENCE_S = 0.25

#: Seconds over which a thread that was written off is watched for whether it computes or waits.
_IDLE_S = 1.0


class OverlapService(FlowService):
    """One loaded flow whose runs overlap; see `penstock.engine.local.loader.Overlapping`.

    Args:
        flow: The flow.
        ask: Sends a request to the memory store and returns its answer; any thread calls it.
        scratch: A folder of this process's own.
        concurrency: Most runs at once.
        notice: Is told facts that changed.
    """

    def __init__(
        self,
        flow: LoadedFlow,
        ask: Ask,
        scratch: Path,
        concurrency: int,
        *,
        notice: Callable[[dict[str, Any]], None] = lambda _facts: None,
    ) -> None:
        self._loop: LoopThread | None = None
        if flow.waits:
            self._loop = LoopThread("penstock-async", partial(go_to, scratch / "async"))
        wait = self._loop.run if self._loop is not None else None
        super().__init__(flow, ask, scratch, notice=notice, wait=wait)
        self.concurrency = concurrency
        self._steps = steps_of(flow.pairs)
        self._private = FunctionThreads.can_be_private()
        self._threads = FunctionThreads(concurrency, scratch / "threads", self._private)
        desk = self._desk if self._private else SharedDesk(scratch)
        self._models = ModelQueue(desk, self._tell_of_joining)
        self._folders = Folders(scratch / "folders")
        self._finisher = Finisher(self._space)
        self._walks: dict[int, Walk] = {}
        self._lost_tasks = 0
        self._telling = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """Return what people may see of the flow, and how its runs overlap."""
        own = {"concurrency": self.concurrency, "private_directories": self._private}
        return {**super().facts(), **own}

    # --- for the worker's loop ---

    def begin(self, seat: Seat) -> None:
        """Begin a call and return; it is answered through its seat."""
        walk = Walk(seat)
        self._walks[walk.call.call_id] = walk
        if self._loop is not None:
            self._loop.loop.call_soon_threadsafe(self._spawn, walk)
        else:
            walk.job = Job(lambda desk: Context().run(self._go, walk, desk))
            self._threads.submit(walk.job)

    def cancel(self, seat: Seat) -> None:
        """Let go of a call that nobody waits for, unless it is in the model.

        A task is cancelled. A plain function is left alone while the call has time left, and its
        thread is written off when it has none.
        """
        walk = self._walks.get(seat.call.call_id)
        if walk is None:
            return
        walk.give_up()
        if self._loop is not None:
            self._loop.loop.call_soon_threadsafe(self._cancel_task, walk)
        elif not walk.leave_model(self._models) and walk.is_late():
            self._write_off(walk)
            self._let_go(walk)

    def work(self) -> None:
        """Answer for the model, in the calling thread, until `end`."""
        self._models.work()

    def end(self) -> None:
        """Have `work` return."""
        self._models.end()

    # --- in a thread ---

    def _go(self, walk: Walk, desk: Desk) -> None:
        """Take a run all its way; the thread's context is this run's."""
        if not self._private:
            OWN_FOLDER.set(self._folders.make)
        run = self._enter(walk)
        try:
            if run.error is None:
                self._pass(walk, run, desk, self._steps)
                run.value = plain_output(run.value)
        except Exception:  # noqa: BLE001 - a defect of ours: the call gets an answer all the same
            run.error = defect(run.id)
        self._conclude(walk, run)

    def _pass(self, walk: Walk, run: Run, desk: Desk, steps: Sequence[Step]) -> None:
        for step in steps:
            if walk.unwanted:
                return
            walk.seat.at(step.stage, step.part)
            if isinstance(step, FunctionStep):
                step.function.answer([run], desk)
            elif isinstance(step, BranchStep):
                branch_walk.go(step, run, walk, lambda r, s: self._pass(walk, r, desk, s))
            else:
                walk.visit_model(self._models, step, run)
            if run.error is not None:
                return

    # --- on the event loop ---

    def _spawn(self, walk: Walk) -> None:
        walk.task = asyncio.get_running_loop().create_task(self._go_async(walk))

    async def _go_async(self, walk: Walk) -> None:
        OWN_FOLDER.set(self._folders.make)
        run = self._enter(walk)
        try:
            if run.error is None:
                await self._pass_async(walk, run, self._steps)
                run.value = plain_output(run.value)
        except asyncio.CancelledError:
            if not walk.unwanted:
                run.error = run.error or defect(run.id)
        except Exception:  # noqa: BLE001 - a defect of ours: the call gets an answer all the same
            run.error = defect(run.id)
        self._conclude(walk, run)

    async def _pass_async(self, walk: Walk, run: Run, steps: Sequence[Step]) -> None:
        for step in steps:
            if walk.unwanted:
                return
            walk.seat.at(step.stage, step.part)
            if isinstance(step, BranchStep):
                lost = await branch_walk.go_async(step, run, walk, self._pass_async, self._models)
                self._lost_tasks -= lost
            elif isinstance(step, ModelStep):
                await walk.await_model(self._models, step, run)
            elif isinstance(step.function, AsyncProcessing):
                await _wait(step.function, walk, run)
            else:
                await self._in_thread(walk, run, step.function)
            if run.error is not None:
                return

    async def _in_thread(
        self, walk: Walk, run: Run, function: Processing | ReadyCombination
    ) -> None:
        loop, context, done = asyncio.get_running_loop(), copy_context(), asyncio.Event()

        def work(desk: Desk) -> None:
            if self._private:
                context.run(OWN_FOLDER.set, None)
            context.run(function.answer, [run], desk)
            loop.call_soon_threadsafe(done.set)

        walk.job = Job(work)
        self._threads.submit(walk.job)
        await done.wait()
        walk.job = None

    def _cancel_task(self, walk: Walk) -> None:
        if walk.branches:
            for way in walk.branches:
                self._cancel_task(way)
            return
        task = walk.task
        if task is None or task.done() or walk.is_cancelled or walk.leave_model(self._models):
            return
        if not walk.began_ns:  # it has not come to its first line; there it finds out itself
            return
        if walk.job is not None:
            if not walk.is_late():
                return
            self._write_off(walk)
        walk.is_cancelled = True
        task.cancel()
        asyncio.get_running_loop().call_later(_PATIENCE_S, self._let_go_of_task, walk)

    def _let_go_of_task(self, walk: Walk) -> None:
        """Answer for a task that was cancelled and goes on."""
        if walk.task is not None and not walk.task.done():
            walk.is_lost = True
            self._lost_tasks += 1
            self._let_go(walk)

    # --- both ---

    def _enter(self, walk: Walk) -> Run:
        call = walk.call
        walk.began_ns = monotonic_ns()
        (run,) = self._take([call], walk.began_ns)
        return run

    def _conclude(self, walk: Walk, run: Run) -> None:
        """Answer the call, its memory published before, unless nobody waits for it."""
        call, folder = walk.call, run.folder
        self._walks.pop(call.call_id, None)
        walk.job = None
        if walk.is_lost:
            self._lost_tasks -= 1
        if walk.unwanted:
            remove(folder)
            walk.seat.leave()
            return
        run.folder = None  # the desk that finishes runs in `_encode` is the model thread's
        (answer,) = self._encode([call], [run], walk.began_ns)
        remove(folder)

        def send() -> None:
            walk.seat.answer(self._reply(call, run, answer, walk.began_ns))

        if run.error is None and run.memory is not None and run.memory.has_writes:
            self._finisher.put(run, send)
        else:
            send()

    def _write_off(self, walk: Walk) -> None:
        """Do without the thread of a run's function; have the worker replaced if it computes on."""
        job = walk.job
        if job is None:
            return
        self._threads.give_up(job)
        if job.is_lost and job.thread is not None:
            began_s = cpu_seconds(job.thread)
            timer = threading.Timer(_IDLE_S, self._look_at, (job, job.thread, began_s))
            timer.daemon = True
            timer.start()

    def _look_at(self, job: Job, thread: int, began_s: float) -> None:
        if not job.is_done and cpu_seconds(thread) - began_s > _IDLE_S / 10:
            self._tell({"worn": "a function computes on after the time limit of its call"})

    def _let_go(self, walk: Walk) -> None:
        """Answer for a run that goes on although nobody waits for it."""
        self._walks.pop(walk.call.call_id, None)
        walk.seat.leave()
        lost = self._threads.lost + self._lost_tasks
        if 2 * lost > self.concurrency:
            worn = f"{lost} functions did not end within the time limit of their calls"
            self._tell({"worn": worn})

    def _tell_of_joining(self) -> None:
        if self._flow.joining_changed():
            self._tell(self._flow.facts())

    def _tell(self, facts: dict[str, Any]) -> None:
        with self._telling:
            self._notice(facts)


async def _wait(function: AsyncProcessing, walk: Walk, run: Run) -> None:
    """Wait for a function; that it says it is cancelled although it is not is its failure."""
    try:
        await function.wait(run)
    except asyncio.CancelledError as error:
        if walk.unwanted:
            raise
        run.error = function.failed(error)
