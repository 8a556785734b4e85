"""The stage loop: takes runs that wait together through all stages.

`pre` and `post` are called for each run by itself; the model is called for one run, or once for
several by `penstock.flow.batch`. A run that fails drops out and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from penstock.flow.context import CURRENT, Run
from penstock.flow.desk import Desk
from penstock.flow.processing import Processing

#: Is told the stage, from 1, and the part of it that begins: 1 `pre`, 2 model, 3 `post`.
At = Callable[[int, int], None]


class AnyStage(Protocol):
    """A loaded stage: with a model (`flow.stage`) or with branches (`flow.branching`)."""

    number: int
    pre: Processing | None
    post: Processing | None

    @property
    def begins_with_function(self) -> bool:
        """Whether user code sees first what comes to the stage."""

    @property
    def ends_with_function(self) -> bool:
        """Whether user code made what goes on."""

    def steps(self) -> list[str]:
        """Return the steps as `Server-Timing` names them, in the order of `Run.spent_ns`."""

    def functions(self) -> list[Processing]:
        """Return the user's functions, in the order they are called."""

    def is_harmless(self) -> bool:
        """Whether it is proven that no code of the user's can touch files or a run's memory."""

    def facts(self) -> dict[str, Any]:
        """Return what people may see."""

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Answer for one run what is between `pre` and `post`."""


class AnyJoiner(Protocol):
    """What answers for several runs what is between `pre` and `post`."""

    @property
    def state(self) -> str:
        """Whether model calls are joined; see `penstock.flow.batch`."""

    def answer(self, runs: list[Run], desk: Desk) -> None:
        """Answer; each run gets `value` or `error`."""


#: A stage and what joins its calls.
Pair = tuple[AnyStage, AnyJoiner]


def execute(stages: Sequence[Pair], runs: list[Run], desk: Desk, at: At) -> None:
    """Put each run's result in `run.value`, or why there is none in `run.error`.

    `run.spent_ns` gets one entry per step: `pre`, model and `post` of each stage that has them.
    """
    try:
        run_through(stages, runs, desk, at)
    finally:
        CURRENT.set(None)


def run_through(stages: Sequence[Pair], runs: list[Run], desk: Desk, at: At) -> None:
    """Take runs through stages, those of a flow or of a branch."""
    if len(runs) == 1:
        _alone(stages, runs, desk, at)
        return
    for stage, joiner in stages:
        runs = _stage(stage, joiner, runs, desk, at)
        if not runs:
            return


def _alone(stages: Sequence[Pair], runs: list[Run], desk: Desk, at: At) -> None:
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


def _stage(stage: AnyStage, joiner: AnyJoiner, runs: list[Run], desk: Desk, at: At) -> list[Run]:
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
