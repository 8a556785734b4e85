"""`parallel` and `switch`: a stage that has flows of its own, its branches.

What the user writes is kept as it is in a `Parallel` or `Switch`; `Flow.parse`, which knows the
number of the stage, has `parse_branch_stage` check it and gets a `BranchStage`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.core.errors import InvalidStage
from penstock.core.numbers import InBranch
from penstock.core.signatures import (
    CHOOSE_FORMS,
    COMBINE_FORMS,
    positional_count,
    waits,
)

if TYPE_CHECKING:
    from penstock.core.flow import Stage

Function = Callable[..., Any]

#: Ready ways to combine, by name; `penstock.flow.combine` has them.
COMBINATIONS: dict[str, str] = {
    "mean": "the mean of the branches' numbers",
    "vote": "for each row the label that most branches give; the first branch's among equals",
    "concat": "the branches' columns side by side",
}

PARALLEL, SWITCH = "parallel", "switch"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38}[A-Za-z0-9])?")


@dataclass(frozen=True, eq=False)
class Parallel:
    """What `parallel` returns: a stage whose branches all work on the same value."""

    flows: Sequence[Any] | Mapping[str, Any]
    combine: Function | str | None = None


@dataclass(frozen=True, eq=False)
class Switch:
    """What `switch` returns: a stage one of whose branches works on the value."""

    choose: Function
    flows: Mapping[str, Any]
    default: str | None = None


def parallel(
    flows: Sequence[Any] | Mapping[str, Any], combine: Function | str | None = None
) -> Parallel:
    """Return a stage that gives its input to several flows and combines their results.

    Write it in place of a stage, alone or as `(parallel(...), {"pre": f, "post": g})`. The branches
    run in the same process. Calls of other requests that wait are joined in each branch.

    Args:
        flows: The branches: a list of flows, named `"1"`, `"2"`, … in messages and timings, or a
            dict of flows by name. An empty flow `[]` hands its input on.
        combine: `"mean"`, `"vote"`, `"concat"`, or a function `combine(results)`,
            `combine(results, input_data)` or `combine(results, input_data, files)`. `results` has
            one result for each branch: a list, or a dict by name where `flows` is one. Without it
            that list or dict goes on.
    """
    return Parallel(flows, combine)


def switch(choose: Function, flows: Mapping[str, Any], default: str | None = None) -> Switch:
    """Return a stage that lets a function choose a flow for each request.

    Write it in place of a stage, alone or as `(switch(...), {"pre": f, "post": g})`.

    Args:
        choose: `choose(data)` or `choose(data, files)`, called for each request with the value that
            comes to the stage; returns the name of a branch.
        flows: The branches by name. An empty flow `[]` hands its input on.
        default: The branch for names that none has; without it such a name is an error.
    """
    return Switch(choose, flows, default)


@dataclass(frozen=True)
class Branch:
    """A branch: its name and its stages, which may be none."""

    name: str
    stages: tuple[Stage | BranchStage, ...]


@dataclass(frozen=True)
class BranchStage:
    """A stage that has branches, checked.

    Attributes:
        kind: `"parallel"` or `"switch"`.
        branches: The branches in the order given.
        own: The stage's functions by role, in the order they are called: `setup`, `pre`, `choose`
            or `combine`, `post`, each with the number of its arguments.
        ready: Name of the ready combination, if one was given.
        by_name: Whether the results of the branches are a dict by name, not a list.
        default: The branch of a switch for unknown names.
    """

    kind: str
    branches: tuple[Branch, ...]
    own: Mapping[str, tuple[Function, int]]
    ready: str | None = None
    by_name: bool = False
    default: str | None = None

    @property
    def title(self) -> str:
        """What people call it: its kind and its branches."""
        return f"{self.kind} of {', '.join(branch.name for branch in self.branches)}"

    @property
    def waits(self) -> bool:
        """Whether one of its functions, or of its branches' stages, is `async def`."""
        inner = (stage for branch in self.branches for stage in branch.stages)
        return any(map(waits, self.functions().values())) or any(s.waits for s in inner)

    def functions(self) -> dict[str, Function]:
        """Return the stage's own functions by role."""
        return {role: function for role, (function, _) in self.own.items()}

    def arguments(self, role: str) -> int:
        """Return how many positional arguments a function is called with."""
        return self.own[role][1]

    def walk(self, number: int) -> Iterator[tuple[int, Stage | BranchStage]]:
        """Yield number and stage of everything inside, an outer stage before what it has."""
        for branch in self.branches:
            yield from walk(branch.stages, lambda own, b=branch: InBranch(number, b.name, own))  # type: ignore[misc]


def walk(
    stages: Sequence[Stage | BranchStage], number_of: Callable[[int], int] = int
) -> Iterator[tuple[int, Stage | BranchStage]]:
    """Yield number and stage of a flow's stages, branches' stages after the stage that has them."""
    for own, stage in enumerate(stages, 1):
        number = number_of(own)
        yield number, stage
        if isinstance(stage, BranchStage):
            yield from stage.walk(number)


#: Checks the stages of a branch; given what the user wrote and the number of each.
ParseStages = Callable[[Any, Callable[[int], int]], "tuple[Stage | BranchStage, ...]"]


def parse_branch_stage(
    number: int,
    given: Parallel | Switch,
    functions: Mapping[str, tuple[Function, int]],
    parse_stages: ParseStages,
) -> BranchStage:
    """Return a checked stage with branches.

    Args:
        number: Number of the stage.
        given: What the user wrote.
        functions: `setup`, `pre` and `post` of the stage, checked.
        parse_stages: Checks the stages of a branch.

    Raises:
        InvalidStage, InvalidSignature: A branch, its name, or a function is of the wrong kind.
        MissingModelFile: A model file of a branch is absent.
    """
    kind = PARALLEL if isinstance(given, Parallel) else SWITCH
    flows = _named(number, kind, given.flows)
    branches = tuple(
        Branch(name, _stages(number, name, flow, parse_stages)) for name, flow in flows.items()
    )
    ready, own = None, dict(functions)
    if isinstance(given, Parallel):
        ready = given.combine if isinstance(given.combine, str) else None
        own |= _combine(number, given.combine)
    else:
        own |= _choose(number, given, flows)
    order = ("setup", "pre", "choose", "combine", "post")
    return BranchStage(
        kind=kind,
        branches=branches,
        own={role: own[role] for role in order if role in own},
        ready=ready,
        by_name=isinstance(given.flows, Mapping),
        default=given.default if isinstance(given, Switch) else None,
    )


def _named(number: int, kind: str, given: object) -> dict[str, Any]:
    if isinstance(given, Mapping):
        flows = dict(given)
    elif isinstance(given, list) and kind == PARALLEL:
        flows = {str(i): flow for i, flow in enumerate(given, 1)}
    else:
        wanted = "a dict of flows by name" if kind == SWITCH else "a list of flows, or a dict"
        raise InvalidStage(
            f"Stage {number}: the branches of {kind} are a {type(given).__name__}, not {wanted}.",
            stage=number,
            hint=f"Write {_FORMS[kind]}.",
        )
    if not flows:
        raise InvalidStage(f"Stage {number}: {kind} has no branches.", stage=number)
    for name in flows:
        if not is_branch_name(name):
            raise InvalidStage(
                f"Stage {number}: {name!r} is no name for a branch of {kind}.",
                stage=number,
                hint="Names are 1 to 40 letters, digits and inner hyphens and underscores.",
            )
    return flows


def is_branch_name(name: object) -> bool:
    """Whether a branch may have this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


_FORMS = {
    PARALLEL: "parallel([first_flow, second_flow], combine)",
    SWITCH: 'switch(choose, {"cats": first_flow, "dogs": second_flow})',
}


def _stages(number: int, name: str, flow: Any, parse_stages: ParseStages) -> Any:
    if isinstance(flow, (list, tuple)) and not flow:
        return ()
    return parse_stages(flow, lambda own: InBranch(number, name, own))


def _combine(number: int, given: object) -> dict[str, tuple[Function, int]]:
    if given is None or (isinstance(given, str) and given in COMBINATIONS):
        return {}
    if not callable(given):
        raise InvalidStage(
            f"Stage {number}: combine is {given!r}; give a function, or one of "
            f"{', '.join(map(repr, COMBINATIONS))}.",
            stage=number,
            function="combine",
        )
    return {"combine": (given, positional_count(number, "combine", given, COMBINE_FORMS))}


def _choose(
    number: int, given: Switch, flows: Mapping[str, Any]
) -> dict[str, tuple[Function, int]]:
    if not callable(given.choose):
        raise InvalidStage(
            f"Stage {number}: choose is a {type(given.choose).__name__}, not a function.",
            stage=number,
            function="choose",
            hint=f"Write {_FORMS[SWITCH]}.",
        )
    if given.default is not None and given.default not in flows:
        raise InvalidStage(
            f"Stage {number}: the default {given.default!r} is none of its branches.",
            stage=number,
            hint=f"The branches are {', '.join(map(repr, flows))}.",
        )
    count = positional_count(number, "choose", given.choose, CHOOSE_FORMS)
    return {"choose": (given.choose, count)}
