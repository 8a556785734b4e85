"""A flow that is ready to answer: its stages in order, and what it tells about itself.

Made by `penstock.flow.assemble`; used by `penstock.flow.service` in a worker and by
`penstock.flow.local` on the user's machine, so that both behave alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.codec.payload import Request
from penstock.core.errors import (
    FilesNotUsed,
    InputMismatch,
    PenstockError,
)
from penstock.flow.async_function import AsyncProcessing
from penstock.flow.batch import UNPROVEN, Joiner
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import At, execute
from penstock.flow.pipeline_stage import PipelineStage
from penstock.flow.stage import LoadedStage

#: Types of results that `plain_output` leaves alone.
_PLAIN = frozenset({list, dict, tuple, np.ndarray})


class LoadedFlow:
    """Stages in order with what joins their calls.

    Args:
        stages: At least one stage.
        uses_files: Whether any function takes the files argument.
        max_batch: Most rows of one joined model call.
    """

    def __init__(self, stages: list[LoadedStage], *, uses_files: bool, max_batch: int) -> None:
        self.stages = stages
        self.uses_files = uses_files
        self.steps: tuple[str, ...] = tuple(
            f"s{stage.number}-{step}"
            for stage in stages
            for step in ("pre", "model", "post")
            if step == "model" or getattr(stage, step) is not None
        )
        pipelines = [stage for stage in stages if isinstance(stage, PipelineStage)]
        for pipeline in pipelines[:1]:
            pipeline.takes_parameters = True
        self._takes_parameters = bool(pipelines)
        followers = [*stages[1:], None]
        self._pairs = [
            (stage, Joiner(stage, max_batch, _hands_on(stage, follower)))
            for stage, follower in zip(stages, followers, strict=True)
        ]

    @property
    def pairs(self) -> list[tuple[LoadedStage, Joiner]]:
        """The stages in order, each with what joins its calls."""
        return self._pairs

    @property
    def waits(self) -> bool:
        """Whether a function of it is `async def`."""
        functions = (function for stage in self.stages for function in stage.functions())
        return any(isinstance(function, AsyncProcessing) for function in functions)

    def stop_watching(self) -> bool:
        """Stop watching the functions' calls if nothing in this flow needs it; say whether.

        All or none: a function that is not proven could change what the proof of another read.
        """
        if not all(stage.is_harmless() for stage in self.stages):
            return False
        for stage in self.stages:
            for function in stage.functions():
                function.is_watched = False
        return True

    def admit(self, request: Request) -> None:
        """Refuse a request whose files or parameters nothing in this flow takes.

        Raises:
            FilesNotUsed: Files were sent and no function takes files.
            InputMismatch: Parameters were sent and no stage takes parameters.
        """
        if request.files and not self.uses_files:
            raise FilesNotUsed(
                f"{len(request.files)} file(s) were sent, but no function of this flow takes "
                "files.",
                hint=self._files_hint(),
            )
        if request.parameters and not self._takes_parameters:
            raise InputMismatch(
                "parameters were sent, but no stage of this flow takes parameters.",
                hint="Send them inside data, where a pre can read them.",
            )

    def execute(self, runs: list[Run], desk: Desk, at: At = lambda _stage, _part: None) -> None:
        """Put each run's result in `run.value`, or why there is none in `run.error`.

        Args:
            runs: The runs that are answered together.
            desk: Their working directories.
            at: Is told what begins, so that a crash can be placed.
        """
        execute(self._pairs, runs, desk, at)
        for run in runs:
            if type(run.value) not in _PLAIN:
                run.value = plain_output(run.value)

    def blame(self, error: PenstockError) -> PenstockError:
        """Return the error of a result that cannot be written, saying which stage made it."""
        last = self.stages[-1]
        maker = f"post of stage {last.number}" if last.post else f"the model of stage {last.number}"
        error.stage, error.function = last.number, "post" if last.post else None
        error.message = f"What {maker} returned cannot be answered: {error.message}"
        return error

    def is_unproven(self) -> bool:
        """Whether it is still to be found out for some stage if its calls may be joined."""
        return any(joiner.state == UNPROVEN for _, joiner in self._pairs)

    def joining_changed(self) -> bool:
        """Whether joining was turned on or off for a stage since this was last asked."""
        changed = False
        for _, joiner in self._pairs:
            if joiner.changed:
                joiner.changed = False
                changed = True
        return changed

    def batching(self) -> list[dict[str, Any]]:
        """Return for each stage whether its calls are joined, and why or why not."""
        return [joiner.facts() for _, joiner in self._pairs]

    def facts(self) -> dict[str, Any]:
        """Return what people may see: for each stage its model, functions and joining."""
        return {
            "stages": [
                {
                    "stage": stage.number,
                    "model_type": stage.model_type.value,
                    "functions": [step for step in ("pre", "post") if getattr(stage, step)],
                    **stage.model.describe(),
                    "batching": joiner.facts(),
                }
                for stage, joiner in self._pairs
            ]
        }

    def _files_hint(self) -> str:
        labels = [f.label for s in self.stages for f in (s.pre, s.post) if f is not None]
        if not labels:
            return "Give stage 1 a pre(data, files) that turns the files into the model's input."
        return (
            f"Give one of its functions ({', '.join(labels)}) the files argument: "
            "pre(data, files) or post(result, input_data, files)."
        )


def _hands_on(stage: LoadedStage, follower: LoadedStage | None) -> bool:
    return follower is not None and stage.post is None and follower.pre is None


def plain_output(value: Any) -> Any:
    """Return sparse matrices and data frames, as models return them, as arrays."""
    kind = type(value)
    if kind.__module__.startswith("scipy.sparse"):
        return value.toarray()
    if kind.__module__.startswith("pandas") and hasattr(value, "to_numpy"):
        return value.to_numpy()
    return value
