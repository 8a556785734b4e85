"""The steps of a flow, for runs that go their own ways: functions, and models between them.

`penstock.flow.overlap` walks them for each run. Models with no code of the user's in between are
one step, so that a run goes to the model's thread once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.flow.async_function import AsyncProcessing
from penstock.flow.batch import OFF
from penstock.flow.branching import CHOOSE, COMBINE, BranchedStage
from penstock.flow.combine import ReadyCombination
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import AnyStage, Pair
from penstock.flow.processing import Processing
from penstock.flow.python_stage import PythonStage

_PRE, _MODEL, _POST = 1, 2, 3


@dataclass(frozen=True, eq=False)
class FunctionStep:
    """A processing function, a `PYTHON` model that is `async def`, or a ready combination.

    Attributes:
        stage: Its stage, from 1.
        part: 1 `pre`, 2 model, 3 `post`, 4 `choose`, 5 `combine`.
        function: What calls it.
    """

    stage: int
    part: int
    function: Processing | ReadyCombination


@dataclass(frozen=True, eq=False)
class ModelStep:
    """One model, or several that follow each other, or are in branches without any function.

    `PYTHON` models are never in one step with others: those may answer several runs at once, but
    code of the user's needs the context of its own run.

    Attributes:
        stage: The first one's stage, from 1.
        models: The stages with what joins their calls.
        part: Always that of the model.
    """

    stage: int
    models: tuple[Pair, ...]
    part: int = _MODEL

    @property
    def is_joined(self) -> bool:
        """Whether runs that wait together may be answered by one call, now or once it is proven."""
        return any(joiner.state is not OFF for _, joiner in self.models)

    def takes_along(self, stage: AnyStage) -> bool:
        """Whether the model of the stage that follows may be in this step."""
        first, _ = self.models[0]
        return isinstance(stage, PythonStage) is isinstance(first, PythonStage)

    def answer(self, runs: list[Run], desk: Desk) -> None:
        """Call the models for several runs; each gets `value` or `error`."""
        for _, joiner in self.models:
            joiner.answer(runs, desk)
            runs = [run for run in runs if run.error is None]
            if not runs:
                return


@dataclass(frozen=True, eq=False)
class BranchStep:
    """A stage with branches in which there are functions.

    Attributes:
        stage: Its number.
        branched: The stage, which divides and joins runs.
        choose: The function that chooses a branch, or None.
        flows: The steps of each branch.
        combine: What combines the branches' results, or None.
        part: Always that of the model.
    """

    stage: int
    branched: BranchedStage
    choose: FunctionStep | None
    flows: tuple[tuple[Step, ...], ...]
    combine: FunctionStep | None
    part: int = _MODEL

    @property
    def overlaps(self) -> bool:
        """Whether functions in several branches are `async def`, so that they wait together."""
        return self.choose is None and sum(map(any_waits, self.flows)) > 1


Step = FunctionStep | ModelStep | BranchStep


def steps_of(pairs: Iterable[Pair]) -> list[Step]:
    """Return the steps of a flow's or a branch's stages, in order."""
    steps: list[Step] = []
    for stage, joiner in pairs:
        number = stage.number
        if stage.pre is not None:
            steps.append(FunctionStep(number, _PRE, stage.pre))
        last = steps[-1] if steps else None
        if isinstance(stage, PythonStage) and isinstance(stage.function, AsyncProcessing):
            steps.append(FunctionStep(number, _MODEL, stage.function))
        elif isinstance(stage, BranchedStage) and _has_functions_inside(stage):
            steps.append(_branch_step(stage))
        elif isinstance(last, ModelStep) and last.takes_along(stage):
            steps[-1] = ModelStep(last.stage, (*last.models, (stage, joiner)))
        else:
            steps.append(ModelStep(number, ((stage, joiner),)))
        if stage.post is not None:
            steps.append(FunctionStep(number, _POST, stage.post))
    return steps


def _has_functions_inside(stage: BranchedStage) -> bool:
    outside = [stage.pre, stage.post]
    return any(function not in outside for function in stage.functions())


def _branch_step(stage: BranchedStage) -> BranchStep:
    choose, combine = stage.choose, stage.combine
    return BranchStep(
        stage.number,
        stage,
        None if choose is None else FunctionStep(stage.number, CHOOSE, choose),
        tuple(tuple(steps_of(branch.pairs)) for branch in stage.branches),
        None if combine is None else FunctionStep(stage.number, COMBINE, combine),
    )


def any_waits(steps: Iterable[Step]) -> bool:
    """Whether a step is an `async def` function, in branches too."""
    for step in steps:
        if isinstance(step, BranchStep):
            inner = [s for s in (step.choose, step.combine) if s is not None]
            if any_waits(inner) or any(map(any_waits, step.flows)):
                return True
        elif isinstance(step, FunctionStep) and isinstance(step.function, AsyncProcessing):
            return True
    return False
