"""The ready ways to combine what branches return: mean, vote, concat.

Used by `penstock.flow.branching` for `parallel(…, "mean")`. Each takes one result per branch
(arrays, tensors or lists) and returns an array; what does not go together is an error that names
the branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np

from penstock.core.branches import COMBINATIONS
from penstock.core.errors import PenstockError, StageMismatch
from penstock.flow.arrays import Array, is_tensor, tensor_values
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.mismatch import describe, short


class _Unfit(Exception):
    """The results do not go together; the text says why."""


def mean(parts: Sequence[Array]) -> Array:
    """Return the mean of arrays of one shape; integers become float64."""
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        raise _Unfit("they have different shapes")
    if any(part.dtype.kind not in "fiub" for part in parts):
        raise _Unfit("they are not all numbers")
    return np.asarray(np.mean(np.stack(parts), axis=0))


def vote(parts: Sequence[Array]) -> Array:
    """Return for each row the label that most parts give, the earliest part's among equals.

    A part of two dimensions (rows, classes) votes for the class with the largest value.
    """
    ballots = [_labels(part) for part in parts]
    if len({len(ballot) for ballot in ballots}) != 1:
        raise _Unfit("they have different numbers of rows")
    columns = np.stack([np.asarray(ballot) for ballot in ballots])
    if columns.dtype.kind in "US" and any(np.asarray(b).dtype.kind not in "US" for b in ballots):
        raise _Unfit("some are texts and some are numbers")
    # For each ballot, how many ballots agree with it; argmax takes the first of the largest.
    agree = (columns[:, None, :] == columns[None, :, :]).sum(axis=1)
    winners = agree.argmax(axis=0)
    return np.asarray(columns[winners, np.arange(columns.shape[1])])


def _labels(part: Array) -> Array:
    if part.ndim == 2 and part.shape[1] > 1:
        if part.dtype.kind not in "fiub":
            raise _Unfit("texts with several columns are no votes")
        return np.asarray(part.argmax(axis=1))
    if part.ndim == 0:
        return part.reshape(1)
    if part.ndim > 2:
        raise _Unfit("votes have one or two dimensions")
    return part.reshape(len(part))


def concat(parts: Sequence[Array]) -> Array:
    """Return the columns of all parts side by side; a part of one dimension is one column."""
    tables = [part.reshape(-1, 1) if part.ndim < 2 else part for part in parts]
    if len({table.shape[:-1] for table in tables}) != 1:
        raise _Unfit("they have different numbers of rows")
    return np.concatenate(tables, axis=-1)


_READY: dict[str, Callable[[Sequence[Array]], Array]] = {
    "mean": mean,
    "vote": vote,
    "concat": concat,
}


class ReadyCombination:
    """A ready combination as a step of a flow; called as functions of the user's are.

    Args:
        name: Which one.
        stage: Number of the stage.
        branches: Names of the branches, in the order of the results.
    """

    role = "combine"

    def __init__(self, name: str, stage: int, branches: Sequence[str]) -> None:
        self.stage = stage
        self.label = f"{name} of stage {stage}"
        self._name = name
        self._branches = branches
        self._combine = _READY[name]

    def answer(self, runs: list[Run], _desk: Desk) -> bool:
        """Combine the results in each run's value; return whether none failed."""
        for run in runs:
            began = perf_counter_ns()
            parts = list(run.value.values()) if isinstance(run.value, dict) else run.value
            try:
                run.value = self._combine([_as_array(part) for part in parts])
            except Exception as error:  # noqa: BLE001 - NumPy says no in many ways
                run.error = self._refused(parts, error)
            run.spent_ns.append(perf_counter_ns() - began)
        return all(run.error is None for run in runs)

    def _refused(self, parts: Sequence[Any], error: Exception) -> PenstockError:
        why = str(error) if isinstance(error, _Unfit) else f"{type(error).__name__}: {error}"
        gave = "; ".join(
            f"branch {name!r} gave {describe(part)}"
            for name, part in zip(self._branches, parts, strict=True)
        )
        return StageMismatch(
            f"{self.label} cannot combine the branches' results, {why}: {short(gave, 600)[1:-1]}.",
            stage=self.stage,
            function="combine",
            hint=f"It makes {COMBINATIONS[self._name]}. Give the branches a post that brings them "
            "into one form, or give parallel a function of your own.",
        )


def _as_array(value: Any) -> Array:
    if is_tensor(value):
        return tensor_values(value.detach().cpu())
    if hasattr(value, "toarray"):
        value = value.toarray()
    made = np.asarray(value)
    if made.dtype.kind == "O":
        raise _Unfit("they are no arrays of numbers or texts")
    return made
