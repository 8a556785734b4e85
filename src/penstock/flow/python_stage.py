"""A stage whose model is the user's own function.

It is called as `pre` and `post` are: with the run's memory and working directory, and with errors
that show the user's line.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.processing import Processing
from penstock.flow.stage import LoadedStage
from penstock.loaders.python import PythonModel


class PythonStage(LoadedStage):
    """A loaded `PYTHON` stage; see `LoadedStage` for the arguments."""

    __slots__ = ("_function",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.model, PythonModel)
        self._function = Processing(self.model.call, "model", self.number, 1, copies=False)

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Call the function for this run."""
        began = perf_counter_ns()
        self._function(run, desk)
        run.spent_ns.append(perf_counter_ns() - began)
