"""The stage loop: takes runs that wait together through all stages.

`pre` and `post` are called for each run by itself; the model is called for one run, or once for
several by `penstock.flow.batch`. A run that fails drops out and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.flow.batch import Joiner
from penstock.flow.context import CURRENT, Run
from penstock.flow.desk import Desk
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
            _alone(stages, runs, desk, at)
            return
        for stage, joiner in stages:
            runs = _stage(stage, joiner, runs, desk, at)
            if not runs:
                return
    finally:
        CURRENT.set(None)


def _alone(
    stages: Sequence[tuple[LoadedStage, Joiner]], runs: list[Run], desk: Desk, at: At
) -> None:
    """The usual case: nobody else waits."""
    run = runs[0]
    for stage, _ in stages:
        if stage.pre is not None:
            at(stage.number, 1)
            stage.pre.answer(runs, desk)
        if run.error is None:
            at(stage.number, 2)
            stage.answer_alone(run, desk)
        if stage.post is not None and run.error is None:
            at(stage.number, 3)
            stage.post.answer(runs, desk)
        if run.error is not None:
            return


def _stage(stage: LoadedStage, joiner: Joiner, runs: list[Run], desk: Desk, at: At) -> list[Run]:
    if stage.pre is not None:
        at(stage.number, 1)
        if not stage.pre.answer(runs, desk):
            runs = _without_errors(runs)
    at(stage.number, 2)
    joiner.answer(runs, desk)
    runs = _without_errors(runs)
    if stage.post is None or not runs:
        return runs
    at(stage.number, 3)
    return runs if stage.post.answer(runs, desk) else _without_errors(runs)


def _without_errors(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.error is None]
