"""A stage that has branches, loaded: it divides runs among its branches and joins what they give.

Made by `penstock.flow.assemble`. To `execute` and `overlap` it looks like any stage with what joins
its calls. Runs that wait together go through each branch together, so that its models are called
once for all of them. In a branch a run is a `BranchRun`: with a value and an error of its own,
everything else is the run's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.core.branches import SWITCH
from penstock.core.errors import PenstockError, UnknownBranch
from penstock.core.numbers import timing_name
from penstock.flow.batch import OFF, ON, UNPROVEN
from penstock.flow.branch_run import BranchRun, own_value
from penstock.flow.combine import ReadyCombination
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import At, Pair, run_through
from penstock.flow.mismatch import Origin, short
from penstock.flow.processing import Processing

#: Time of a step that a run did not take, in `Run.spent_ns`.
NOT_TAKEN = -1


class Shape(NamedTuple):
    """How a stage's branches work together; see `penstock.core.branches.BranchStage`."""

    kind: str
    ready: str | None = None
    by_name: bool = False
    default: str | None = None


class LoadedBranch:
    """One branch.

    Args:
        name: Its name.
        pairs: Its stages, each with what joins its calls; maybe none.
    """

    def __init__(self, name: str, pairs: Sequence[Pair]) -> None:
        self.name = name
        self.pairs = pairs
        self.steps = [step for stage, _ in pairs for step in stage.steps()]
        first = pairs[0][0] if pairs else None
        self._may_change = first is not None and first.begins_with_function

    def enter(self, run: Run) -> BranchRun:
        """Return the run as it enters; user code that comes first gets a value of its own."""
        return BranchRun(run, own_value(run.value) if self._may_change else run.value)


class BranchedStage:
    """A stage with branches that is ready to answer.

    Attributes:
        number: Stage number, from 1.
        kind: `"parallel"` or `"switch"`.
        branches: The branches.
        choose: The function that chooses one, of a switch.
        combine: What combines the results, or None.
        pre: The function before the branches, or None.
        post: The function after them, or None.
        at: Is told what begins.
    """

    def __init__(
        self,
        number: int,
        shape: Shape,
        branches: Sequence[LoadedBranch],
        functions: Mapping[str, Processing],
    ) -> None:
        self.number = number
        self.kind = shape.kind
        self.branches = branches
        self.pre = functions.get("pre")
        self.post = functions.get("post")
        self.choose = functions.get("choose")
        self.combine: Processing | ReadyCombination | None = functions.get("combine")
        if shape.ready is not None:
            self.combine = ReadyCombination(shape.ready, number, [b.name for b in branches])
        self.at: At = lambda _stage, _part: None
        self._by_name = shape.by_name
        self._default = shape.default
        self._index = {branch.name: i for i, branch in enumerate(branches)}

    # --- what every stage has ---

    @property
    def begins_with_function(self) -> bool:
        """Whether user code sees the value first; without `pre` the branches see to that."""
        return self.pre is not None

    @property
    def ends_with_function(self) -> bool:
        """Whether user code made the value last."""
        if self.post is not None or isinstance(self.combine, Processing):
            return True
        return any(b.pairs[-1][0].ends_with_function for b in self.branches if b.pairs)

    def steps(self) -> list[str]:
        """Return the steps as `Server-Timing` names them, in the order of `Run.spent_ns`."""
        name = timing_name(self.number)
        inner = [step for branch in self.branches for step in branch.steps]
        return [
            *([f"{name}-pre"] if self.pre else []),
            *([f"{name}-choose"] if self.choose else []),
            *inner,
            *([f"{name}-combine"] if self.combine else []),
            *([f"{name}-post"] if self.post else []),
        ]

    def functions(self) -> list[Processing]:
        """Return the user's functions of this stage and of its branches."""
        own = [self.pre, self.choose, self.combine, self.post]
        inner = [
            f for branch in self.branches for stage, _ in branch.pairs for f in stage.functions()
        ]
        return [f for f in own if isinstance(f, Processing)] + inner

    def is_harmless(self) -> bool:
        """Whether it is proven that no code of the user's can touch files or a run's memory."""
        own = [self.pre, self.choose, self.combine, self.post]
        return all(f.is_harmless() for f in own if isinstance(f, Processing)) and all(
            stage.is_harmless() for branch in self.branches for stage, _ in branch.pairs
        )

    def facts(self) -> dict[str, Any]:
        """Return what people may see: kind, functions, and the stages of each branch."""
        roles = ("pre", "choose", "combine", "post")
        return {
            "stage": int(self.number),
            "model_type": self.kind,
            "functions": [role for role in roles if getattr(self, role) is not None],
            "branches": {b.name: [stage_facts(*pair) for pair in b.pairs] for b in self.branches},
        }

    # --- as what joins calls ---

    @property
    def state(self) -> str:
        """Whether model calls are joined: in some branch, in none, or to be found out."""
        states = {joiner.state for branch in self.branches for _, joiner in branch.pairs}
        return next((state for state in (UNPROVEN, ON) if state in states), OFF)

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Take one run through its branches."""
        self.answer([run], desk)

    def answer(self, runs: list[Run], desk: Desk) -> None:
        """Take runs through their branches, together; each gets `value` or `error`."""
        if self.choose is not None:
            runs = self._choose(runs, desk)
        inside = [self.fork(run) for run in runs]
        for i, branch in enumerate(self.branches):
            kids = [kids[i] for kids in inside]
            there = [kid for kid in kids if kid is not None and kid.parent.error is None]
            if there and branch.pairs:
                run_through(branch.pairs, [*there], desk, self.at)
            for kid in there:
                if kid.error is not None:
                    kid.parent.error = kid.error
        for run, kids in zip(runs, inside, strict=True):
            self.join(run, kids)
        fine = [run for run in runs if run.error is None]
        if self.combine is not None and fine:
            self.at(self.number, COMBINE)
            self.combine.answer(fine, desk)

    def _choose(self, runs: list[Run], desk: Desk) -> list[Run]:
        assert self.choose is not None
        self.at(self.number, CHOOSE)
        for run in runs:
            asker = self.asker(run)
            self.choose.answer([asker], desk)
            self.chosen(run, asker)
        return [run for run in runs if run.error is None]

    # --- for runs that go their own ways ---

    def asker(self, run: Run) -> BranchRun:
        """Return the run as the function that chooses sees it."""
        return BranchRun(run, own_value(run.value))

    def chosen(self, run: Run, asker: BranchRun) -> None:
        """Keep which branch was chosen for a run, or why none was, until `fork`."""
        run.spent_ns += asker.spent_ns
        run.error = asker.error
        if run.error is not None:
            return
        name = asker.value
        known = isinstance(name, str) and name in self._index
        if not known and self._default is None:
            run.error = self._unknown(name)
        run.branch = str(name) if known else self._default

    def fork(self, run: Run) -> list[BranchRun | None]:
        """Return the run in each of the branches; None where it does not go."""
        if self.choose is None:
            return [branch.enter(run) for branch in self.branches]
        return [b.enter(run) if b.name == run.branch else None for b in self.branches]

    def join(self, run: Run, kids: Sequence[BranchRun | None]) -> None:
        """Give a run what came out of its branches, or the first error of one."""
        for branch, kid in zip(self.branches, kids, strict=True):
            before, spent = len(run.spent_ns), kid.spent_ns if kid is not None else []
            run.spent_ns += [*spent, *[NOT_TAKEN] * (len(branch.steps) - len(spent))]
            if kid is not None and kid.joined:
                run.joined += tuple((before + at, n, rows) for at, n, rows in kid.joined)
        there = [kid for kid in kids if kid is not None]
        run.error = run.error or next((k.error for k in there if k.error is not None), None)
        if run.error is not None:
            return
        if self.kind == SWITCH:
            run.value = there[0].value
        elif self._by_name:
            run.value = {b.name: kid.value for b, kid in zip(self.branches, there, strict=True)}
        else:
            run.value = [kid.value for kid in there]

    def _unknown(self, name: object) -> PenstockError:
        names = ", ".join(repr(branch.name) for branch in self.branches)
        return UnknownBranch(
            f"choose of stage {self.number} returned {short(name)}, which is none of its branches: "
            f"{names}.",
            stage=self.number,
            function="choose",
            hint='Return one of these names, or give switch a default="…".',
        )


#: Parts of a stage as `At` is told them; see `penstock.engine.local.begun.PARTS`.
CHOOSE, COMBINE = 4, 5


def origin_after(stage: BranchedStage) -> Origin:
    """Return who made the value that goes on from a stage with branches but no `post`."""
    if isinstance(stage.combine, Processing):
        return Origin(stage.combine.label, stage.number, "combine")
    if stage.combine is not None:
        return Origin(stage.combine.label, stage.number)
    what = "the chosen branch" if stage.choose else "the branches"
    function = "post" if stage.ends_with_function else None
    return Origin(f"{what} of stage {stage.number}", stage.number, function)


def stage_facts(stage: Any, joiner: Any) -> dict[str, Any]:
    """Return what people may see of a stage, with whether its calls are joined."""
    facts: dict[str, Any] = stage.facts()
    return facts if isinstance(stage, BranchedStage) else {**facts, "batching": joiner.facts()}


def joiners_in(pairs: Sequence[Pair], found: Callable[[Any, Any], None]) -> None:
    """Call `found` with each stage that has a model, in branches too, and what joins its calls."""
    for stage, joiner in pairs:
        if isinstance(stage, BranchedStage):
            for branch in stage.branches:
                joiners_in(branch.pairs, found)
        else:
            found(stage, joiner)
