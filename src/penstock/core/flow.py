"""A flow as the user writes it: an ordered list of stages, checked when it is built.

`Flow.parse` takes what a user gives to `deploy` (one stage tuple or a list of them) and either
returns a checked `Flow` or raises an error naming the stage and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.core.branches import BranchStage, Parallel, Switch, parse_branch_stage, walk
from penstock.core.errors import InvalidFlow, InvalidStage
from penstock.core.model_types import AnyType, PluginType, artifact_of
from penstock.core.model_types import ModelType as ModelType  # noqa: PLC0414 - re-exported
from penstock.core.pipelines import PipelineSource
from penstock.core.signatures import (
    FILES_AT,
    POST_FORMS,
    PRE_FORMS,
    check_builder,
    check_setup,
    positional_count,
    waits,
)
from penstock.core.sources import described, parse_model

Function = Callable[..., Any]

#: The functions a stage may have, in the order they are called.
ROLES = ("setup", "pre", "post")


@dataclass(frozen=True)
class Stage:
    """One model with optional processing functions.

    Attributes:
        model_type: What kind of model `source` holds.
        source: Path of the model's file or folder; or a model of its library, not saved yet; for
            `PYTHON` the function or class itself; for `HUGGINGFACE_PIPELINE` its arguments.
        pre: Applied to the model's input, or None.
        post: Applied to the model's output, or None.
        build: Makes the module that a file of weights belongs to, or None.
        pre_arguments: Positional arguments `pre` is called with: 1 or 2 (0 without `pre`).
        post_arguments: Positional arguments `post` is called with: 1 to 3 (0 without `post`).
        setup: Called once when a replica loads the stage, or None.
    """

    model_type: AnyType
    source: Any
    pre: Function | None = None
    post: Function | None = None
    pre_arguments: int = 0
    post_arguments: int = 0
    setup: Function | None = None
    build: Function | None = None

    @property
    def is_live(self) -> bool:
        """Whether the model is an object that has to be saved before it can be loaded."""
        known = isinstance(self.source, (Path, PipelineSource))
        return bool(artifact_of(self.model_type).live) and not known

    @property
    def file(self) -> Path | None:
        """The model's file or folder; None for `PYTHON`, `HUGGINGFACE_PIPELINE` and objects."""
        return self.source if isinstance(self.source, Path) else None

    @property
    def title(self) -> str:
        """What people call the model: its file's name, or the function's or class's name."""
        if isinstance(self.source, Path):
            return self.source.name
        if isinstance(self.source, PipelineSource):
            return self.source.title
        return str(getattr(self.source, "__name__", type(self.source).__name__))

    @property
    def waits(self) -> bool:
        """Whether one of its functions is `async def`, that of a `PYTHON` model included."""
        model = None if self.is_live else self.source
        if isinstance(model, type):
            model = getattr(model, "predict", None) or model.__dict__["__call__"]
        return any(map(waits, (model, *self.functions().values())))

    def functions(self) -> dict[str, Function]:
        """Return the stage's functions by role, in the order they are called."""
        roles = {"setup": self.setup, "pre": self.pre, "post": self.post}
        return {role: f for role, f in roles.items() if f is not None}

    def arguments(self, role: str) -> int:
        """Return how many positional arguments a function is called with; 1 for the model."""
        counts = {"setup": 0, "pre": self.pre_arguments, "post": self.post_arguments}
        return counts.get(role, 1)


@dataclass(frozen=True)
class Flow:
    """An ordered list of stages, checked."""

    stages: tuple[Stage | BranchStage, ...] = field(default=())

    @classmethod
    def parse(cls, given: object) -> Flow:
        """Return the flow a user wrote.

        Args:
            given: One stage tuple `(model_type, path[, functions])`, or a list of them.
                `functions` is `{"setup": e, "pre": f, "post": g}` with any of them, or a bare
                function, which means `post`. In place of a model a stage may have branches:
                `parallel(...)` or `switch(...)`, or `(parallel(...), functions)`.

        Raises:
            InvalidFlow: Not a stage or a list of stages, or an empty list.
            InvalidStage: A part of a stage is of the wrong kind; `stage` tells which.
            InvalidSignature: A function does not take the allowed arguments.
            MissingModelFile: A path is empty, absent or has the wrong suffix.
        """
        if isinstance(given, Flow):
            return given
        return cls(_parse_stages(given))

    def walk(self) -> Iterator[tuple[int, Stage | BranchStage]]:
        """Yield number and stage of all stages, those of branches after the stage they are in."""
        return walk(self.stages)

    def models(self) -> Iterator[tuple[int, Stage]]:
        """Yield number and stage of all stages that have a model, those in branches too."""
        for number, stage in self.walk():
            if isinstance(stage, Stage):
                yield number, stage

    @property
    def waits(self) -> bool:
        """Whether any function of the flow, or of a `PYTHON` stage, is `async def`."""
        return any(stage.waits for stage in self.stages)

    @property
    def uses_files(self) -> bool:
        """Whether any function of the flow takes the files argument."""
        return any(
            stage.arguments(role) == FILES_AT[role]
            for _, stage in self.walk()
            for role in stage.functions()
            if role in FILES_AT
        )


def _parse_stages(
    given: object, number_of: Callable[[int], int] = int
) -> tuple[Stage | BranchStage, ...]:
    items = enumerate(_as_list(given), 1)
    return tuple(_parse_stage(number_of(own), item) for own, item in items)


def is_one_stage(given: tuple[Any, ...]) -> bool:
    """Whether a tuple is a stage, not a sequence of stages."""
    if not given or isinstance(given[0], tuple):
        return False
    several = len(given) > 1 and isinstance(given[1], (tuple, Parallel, Switch))
    return not (isinstance(given[0], (Parallel, Switch)) and several)


def _as_list(given: object) -> Sequence[Any]:
    if isinstance(given, (Parallel, Switch)):
        return [given]
    if isinstance(given, tuple) and is_one_stage(given):
        return [given]
    if not isinstance(given, (list, tuple)):
        raise InvalidFlow(
            f"A flow is a list of stages (model_type, path[, functions]), not "
            f"{type(given).__name__}.",
            hint='Write deploy([(model_type.TORCH, "model.pt")], "name", api_key).',
        )
    if not given:
        raise InvalidFlow("The flow is empty.", hint="Give it at least one stage.")
    return given


def _parse_stage(number: int, item: object) -> Stage | BranchStage:
    if isinstance(item, (Parallel, Switch)):
        item = (item,)
    if isinstance(item, (tuple, list)) and item and isinstance(item[0], (Parallel, Switch)):
        return _parse_branches(number, item)
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 3:
        raise InvalidStage(
            f"Stage {number} is {described(item)}; a stage is (model_type, path) or "
            "(model_type, path, functions).",
            stage=number,
        )
    kind = _parse_type(number, item[0])
    build, functions = _parse_builder(number, kind, item[2] if len(item) == 3 else None)
    pre, pre_arguments = functions.get("pre", (None, 0))
    post, post_arguments = functions.get("post", (None, 0))
    return Stage(
        model_type=kind,
        source=parse_model(number, kind, item[1]),
        pre=pre,
        post=post,
        pre_arguments=pre_arguments,
        post_arguments=post_arguments,
        setup=functions.get("setup", (None, 0))[0],
        build=build,
    )


def _parse_builder(
    number: int, kind: AnyType, given: object
) -> tuple[Function | None, dict[str, tuple[Function, int]]]:
    """Return what makes the module of a file of weights, if that is given, and the functions."""
    if not isinstance(given, Mapping) or not artifact_of(kind).is_built:
        return None, _parse_functions(number, given)
    build = given.get("model")
    if build is not None:
        check_builder(number, build)
    return build, _parse_functions(number, {k: f for k, f in given.items() if k != "model"})


def _parse_branches(number: int, item: Sequence[Any]) -> BranchStage:
    given, *rest = item
    if len(rest) > 1:
        raise InvalidStage(
            f"Stage {number} has {len(item)} parts; a stage with branches is parallel(...) or "
            "(parallel(...), functions).",
            stage=number,
        )
    functions = _parse_functions(number, rest[0] if rest else None)
    return parse_branch_stage(number, given, functions, _parse_stages)


def _parse_type(number: int, given: object) -> AnyType:
    if isinstance(given, (ModelType, PluginType)):
        return given
    raise InvalidStage(
        f"Stage {number}: the model type is {described(given)}; it must be a member of model_type.",
        stage=number,
        hint="The members are " + ", ".join(f"model_type.{m.name}" for m in ModelType) + ".",
    )


def _parse_functions(number: int, given: object) -> dict[str, tuple[Function, int]]:
    """Return the functions by role, each with the number of its arguments."""
    if given is None:
        given = {}
    if callable(given):
        given = {"post": given}
    if not isinstance(given, Mapping):
        raise InvalidStage(
            f'Stage {number}: the functions are {described(given)}; give {{"pre": f, "post": g}} '
            "with either or both.",
            stage=number,
        )
    unknown = [k for k in given if k not in ROLES]
    if unknown:
        raise InvalidStage(
            f"Stage {number}: unknown function keys {unknown!r}; the keys are 'setup', 'pre' and "
            "'post'.",
            stage=number,
        )
    found = {role: given[role] for role in ROLES if given.get(role) is not None}
    for role, function in found.items():
        if not callable(function):
            raise InvalidStage(
                f"Stage {number}: {role} is {described(function)}, not a function.",
                stage=number,
                function=role,
            )
    return {role: (f, _count(number, role, f)) for role, f in found.items()}


def _count(number: int, role: str, function: Function) -> int:
    if role == "setup":
        check_setup(number, function)
        return 0
    return positional_count(number, role, function, PRE_FORMS if role == "pre" else POST_FORMS)
