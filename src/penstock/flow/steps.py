"""The steps of a flow, for runs that go their own ways: functions, and models between them.

`penstock.flow.overlap` walks them for each run. Models with no function in between are one step, so
that a run goes to the model's thread once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.flow.async_function import AsyncProcessing
from penstock.flow.batch import OFF, Joiner
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.processing import Processing
from penstock.flow.python_stage import PythonStage
from penstock.flow.stage import LoadedStage

_PRE, _MODEL, _POST = 1, 2, 3


@dataclass(frozen=True, eq=False)
class FunctionStep:
    """A processing function, or a `PYTHON` model that is `async def`.

    Attributes:
        stage: Its stage, from 1.
        part: 1 `pre`, 2 model, 3 `post`.
        function: What calls it.
    """

    stage: int
    part: int
    function: Processing


@dataclass(frozen=True, eq=False)
class ModelStep:
    """One model, or several that follow each other.

    Attributes:
        stage: The first one's stage, from 1.
        models: The stages with what joins their calls.
        part: Always that of the model.
    """

    stage: int
    models: tuple[tuple[LoadedStage, Joiner], ...]
    part: int = _MODEL

    @property
    def is_joined(self) -> bool:
        """Whether runs that wait together may be answered by one call, now or once it is proven."""
        return any(joiner.state is not OFF for _, joiner in self.models)

    def answer(self, runs: list[Run], desk: Desk) -> None:
        """Call the models for several runs; each gets `value` or `error`."""
        for _, joiner in self.models:
            joiner.answer(runs, desk)
            runs = [run for run in runs if run.error is None]
            if not runs:
                return


Step = FunctionStep | ModelStep


def steps_of(pairs: Iterable[tuple[LoadedStage, Joiner]]) -> list[Step]:
    """Return the steps of a flow's stages, in order."""
    steps: list[Step] = []
    for stage, joiner in pairs:
        number = stage.number
        if stage.pre is not None:
            steps.append(FunctionStep(number, _PRE, stage.pre))
        last = steps[-1] if steps else None
        if isinstance(stage, PythonStage) and isinstance(stage.function, AsyncProcessing):
            steps.append(FunctionStep(number, _MODEL, stage.function))
        elif isinstance(last, ModelStep):
            steps[-1] = ModelStep(last.stage, (*last.models, (stage, joiner)))
        else:
            steps.append(ModelStep(number, ((stage, joiner),)))
        if stage.post is not None:
            steps.append(FunctionStep(number, _POST, stage.post))
    return steps


def any_waits(steps: Iterable[Step]) -> bool:
    """Whether a step is an `async def` function."""
    return any(
        isinstance(step, FunctionStep) and isinstance(step.function, AsyncProcessing)
        for step in steps
    )
