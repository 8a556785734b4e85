"""A flow that is ready to answer: its stages in order, and what it tells about itself.

Made by `penstock.flow.assemble`; used by `penstock.flow.service` in a worker and by
`penstock.flow.local` on the user's machine, so that both behave alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.codec.payload import Request
from penstock.core.errors import (
    FilesNotUsed,
    InputMismatch,
    PenstockError,
)
from penstock.core.signatures import FILES_AT, waits
from penstock.flow.async_function import AsyncProcessing
from penstock.flow.batch import ON, UNPROVEN, Joiner
from penstock.flow.branching import BranchedStage, joiners_in, stage_facts
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import AnyStage, At, Pair, execute
from penstock.flow.pipeline_stage import PipelineStage
from penstock.flow.setup import Await, Setup, set_up
from penstock.flow.space import MemorySpace
from penstock.flow.stage import LoadedStage

#: Types of results that `plain_output` leaves alone.
_PLAIN = frozenset({list, dict, tuple, np.ndarray})


class LoadedFlow:
    """Stages in order with what joins their calls.

    Args:
        pairs: At least one stage, each with what joins its calls.
        uses_files: Whether any function takes the files argument.
        setups: The `setup` functions, in the order of the stages.
        pair_files: Whether a request's files and data points must be equal in number.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        uses_files: bool,
        setups: Sequence[Setup] = (),
        pair_files: bool = False,
    ) -> None:
        self.pairs = pairs
        self.uses_files = uses_files
        self._setups = setups
        self._pair_files = pair_files
        self.stages: list[AnyStage] = [stage for stage, _ in pairs]
        self.steps: tuple[str, ...] = tuple(step for stage in self.stages for step in stage.steps())
        found: list[tuple[LoadedStage, Joiner]] = []
        joiners_in(pairs, lambda stage, joiner: found.append((stage, joiner)))
        self._joiners = [joiner for _, joiner in found]
        self._branched = list(_branched(pairs))
        pipelines = [stage for stage, _ in found if isinstance(stage, PipelineStage)]
        for pipeline in pipelines[:1]:
            pipeline.takes_parameters = True
        self._takes_parameters = bool(pipelines)

    @property
    def has_choice(self) -> bool:
        """Whether runs take different steps: there is a switch somewhere."""
        return any(stage.choose is not None for stage in self._branched)

    @property
    def waits(self) -> bool:
        """Whether a function of it is `async def`."""
        functions = (function for stage in self.stages for function in stage.functions())
        return any(isinstance(function, AsyncProcessing) for function in functions) or any(
            waits(setup.function) for setup in self._setups
        )

    def set_up(self, space: MemorySpace, folder: Path, wait: Await | None = None) -> None:
        """Call the `setup` functions, in the process that will answer calls.

        Args:
            space: The memory of this process's runs, which gets what they return.
            folder: A folder of this process's own.
            wait: Runs a coroutine on the loop of the flow's `async` functions.

        Raises:
            LoadFailed: One does not work; `stage` says which.
        """
        set_up(self._setups, space, folder, wait)

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
        if self._pair_files and request.files and len(request.files) != request.count:
            raise InputMismatch(
                f"The request has {request.count} data point(s) and {len(request.files)} file(s); "
                "this flow was deployed with pair_files=True, one file for each data point.",
                hint="Send the files in the order of the data points, as many as there are.",
                data_points=request.count,
                files=len(request.files),
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
        for stage in self._branched:
            stage.at = at
        execute(self.pairs, runs, desk, at)
        for run in runs:
            if type(run.value) not in _PLAIN:
                run.value = plain_output(run.value)

    def blame(self, error: PenstockError) -> PenstockError:
        """Return the error of a result that cannot be written, saying which stage made it."""
        last = self.stages[-1]
        maker, role = _maker_of(last)
        error.stage, error.function = last.number, role
        error.message = f"What {maker} returned cannot be answered: {error.message}"
        return error

    @property
    def joins(self) -> bool:
        """Whether the model calls of some stage are joined."""
        return any(joiner.state == ON for joiner in self._joiners)

    def is_unproven(self) -> bool:
        """Whether it is still to be found out for some stage if its calls may be joined."""
        return any(joiner.state == UNPROVEN for joiner in self._joiners)

    def joining_changed(self) -> bool:
        """Whether joining was turned on or off for a stage since this was last asked."""
        changed = False
        for joiner in self._joiners:
            if joiner.changed:
                joiner.changed = False
                changed = True
        return changed

    def batching(self) -> list[dict[str, Any]]:
        """Return for each model whether its calls are joined, and why or why not."""
        return [joiner.facts() for joiner in self._joiners]

    def facts(self) -> dict[str, Any]:
        """Return what people may see: for each stage its model, functions and joining."""
        set_up = [f"setup of stage {setup.stage}" for setup in self._setups]
        return {
            "stages": [stage_facts(stage, joiner) for stage, joiner in self.pairs],
            **({"setup": set_up} if set_up else {}),
        }

    def _files_hint(self) -> str:
        labels = [f.label for s in self.stages for f in s.functions() if f.role in FILES_AT]
        if not labels:
            return "Give stage 1 a pre(data, files) that turns the files into the model's input."
        return (
            f"Give one of its functions ({', '.join(labels)}) the files argument: "
            "pre(data, files) or post(result, input_data, files)."
        )


def _branched(pairs: Sequence[Pair]) -> Iterator[BranchedStage]:
    for stage, _ in pairs:
        if isinstance(stage, BranchedStage):
            yield stage
            for branch in stage.branches:
                yield from _branched(branch.pairs)


def _maker_of(stage: AnyStage) -> tuple[str, str | None]:
    """Return what made a stage's result: words, and the role of the function if it was one."""
    if stage.post is not None:
        return f"post of stage {stage.number}", "post"
    if not isinstance(stage, BranchedStage):
        return f"the model of stage {stage.number}", None
    if stage.combine is not None:
        return stage.combine.label, "combine"
    return f"the {'chosen branch' if stage.choose else 'branches'} of stage {stage.number}", None


def plain_output(value: Any) -> Any:
    """Return sparse matrices and data frames, as models return them, as arrays."""
    kind = type(value)
    if kind.__module__.startswith("scipy.sparse"):
        return value.toarray()
    if kind.__module__.startswith("pandas") and hasattr(value, "to_numpy"):
        return value.to_numpy()
    return value
