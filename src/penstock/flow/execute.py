"""The stage loop: takes runs that wait together through all stages.

`pre` and `post` are called for each run by itself; the model is called for one run, or once for
several by `penstock.flow.batch`. A run that fails drops out and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from penstock.flow.batch import Joiner
from penstock.flow.context import CURRENT, Run
from penstock.flow.desk import Desk
from penstock.flow.processing import Processing
from penstock.flow.stage import LoadedStage

#: Is told the stage, from 1, and the part of it that begins: 1 `pre`, 2 model, 3 `post`.
At = Callable[[int, int], None]


def execute(
    stages: Sequence[tuple[LoadedStage, Joiner]], runs: list[Run], desk: Desk, at: At
) -> None:
    """Put each run's result in `run.value`, or why there is none in `run.error`.

    `run.spent_ns` gets one entry per step: `pre`, model and `post` of each stage that has them.
    """
    try:
        if len(runs) == 1:
            _alone(stages, runs[0], desk, at)
            return
        for stage, joiner in stages:
            runs = _stage(stage, joiner, runs, desk, at)
            if not runs:
                return
    finally:
        CURRENT.set(None)


def _alone(stages: Sequence[tuple[LoadedStage, Joiner]], run: Run, desk: Desk, at: At) -> None:
    """The usual case: nobody else waits."""
    for stage, _ in stages:
        if stage.pre is not None:
            at(stage.number, 1)
            _call(stage.pre, run, desk)
        if run.error is None:
            at(stage.number, 2)
            stage.answer_alone(run, desk)
        if stage.post is not None and run.error is None:
            at(stage.number, 3)
            _call(stage.post, run, desk)
        if run.error is not None:
            return


def _call(function: Processing, run: Run, desk: Desk) -> None:
    began = perf_counter_ns()
    function(run, desk)
    run.spent_ns.append(perf_counter_ns() - began)


def _stage(stage: LoadedStage, joiner: Joiner, runs: list[Run], desk: Desk, at: At) -> list[Run]:
    if stage.pre is not None:
        at(stage.number, 1)
        runs = _each(stage.pre, runs, desk)
    at(stage.number, 2)
    joiner.answer(runs, desk)
    runs = [run for run in runs if run.error is None]
    if stage.post is None or not runs:
        return runs
    at(stage.number, 3)
    return _each(stage.post, runs, desk)


def _each(function: Processing, runs: list[Run], desk: Desk) -> list[Run]:
    began = perf_counter_ns()
    failed = False
    for run in runs:
        function(run, desk)
        ended = perf_counter_ns()
        run.spent_ns.append(ended - began)
        began = ended
        failed = failed or run.error is not None
    return [run for run in runs if run.error is None] if failed else runs
