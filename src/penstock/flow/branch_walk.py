"""How a run that goes its own way goes through branches: one after the other, or all at once.

Used by `penstock.flow.overlap`, which says how a run passes steps in a thread (`go`) or as a task
(`go_async`). Only where functions of several branches are `async def` do they overlap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from penstock.flow.context import Run
from penstock.flow.memory import RunMemory
from penstock.flow.model_queue import ModelQueue
from penstock.flow.steps import BranchStep, Step
from penstock.flow.walk import Walk

#: Takes a run through steps.
Pass = Callable[[Run, Sequence[Step]], None]
AsyncPass = Callable[[Walk, Run, Sequence[Step]], Coroutine[Any, Any, None]]


def go(step: BranchStep, run: Run, walk: Walk, pass_steps: Pass) -> None:
    """Take a run through its branches in the calling thread."""
    branched = step.branched
    if step.choose is not None:
        asker = branched.asker(run)
        pass_steps(asker, [step.choose])
        branched.chosen(run, asker)
        if run.error is not None or walk.unwanted:
            return
    inside = branched.fork(run)
    for kid, steps in zip(inside, step.flows, strict=True):
        if kid is not None:
            pass_steps(kid, steps)
            if kid.error is not None or walk.unwanted:
                break
    branched.join(run, inside)
    if step.combine is not None and run.error is None:
        pass_steps(run, [step.combine])


async def go_async(
    step: BranchStep, run: Run, walk: Walk, pass_steps: AsyncPass, models: ModelQueue
) -> int:
    """Take a run through its branches; return how many ways that were given up ended after all."""
    branched = step.branched
    if step.choose is not None:
        asker = branched.asker(run)
        await pass_steps(walk, asker, [step.choose])
        branched.chosen(run, asker)
        if run.error is not None or walk.unwanted:
            return 0
    lost = 0
    inside = branched.fork(run)
    ways = [(kid, s) for kid, s in zip(inside, step.flows, strict=True) if kid is not None]
    if step.overlaps:
        lost = await _all_at_once(walk, ways, pass_steps, models)
    else:
        for kid, steps in ways:
            await pass_steps(walk, kid, steps)
            if kid.error is not None or walk.unwanted:
                break
    branched.join(run, inside)
    if step.combine is not None and run.error is None:
        await pass_steps(walk, run, [step.combine])
    return lost


async def _all_at_once(
    walk: Walk,
    ways: Sequence[tuple[Run, Sequence[Step]]],
    pass_steps: AsyncPass,
    models: ModelQueue,
) -> int:
    """Go through several branches at once; if one fails, let go of the others."""
    loop = asyncio.get_running_loop()
    tasks: dict[asyncio.Task[None], tuple[Walk, Run]] = {}
    for kid, steps in ways:
        if kid.memory is None:  # the run's: branches must not make one each
            kid.memory = RunMemory(kid.space)
        way = Walk(walk.seat, walk)
        way.task = loop.create_task(pass_steps(way, kid, steps))
        walk.branches.append(way)
        tasks[way.task] = way, kid
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if any(tasks[task][1].error is not None for task in done):
            for task in waiting:
                _let_go(tasks[task][0], task, models)
    lost = sum(way.is_lost for way in walk.branches)
    walk.branches = []
    for task in tasks:
        if not task.cancelled():
            task.result()  # a defect of ours, if it raises
    return lost


def _let_go(way: Walk, task: asyncio.Task[None], models: ModelQueue) -> None:
    way.give_up()
    if not way.leave_model(models) and way.job is None:
        task.cancel()
