"""A stage whose model is the user's own function.

It is called as `pre` and `post` are: with the run's memory and working directory, and with errors
that show the user's line.
"""

from __future__ import annotations

from typing import Any

from penstock.flow.async_function import processing
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.processing import Processing
from penstock.flow.stage import LoadedStage
from penstock.loaders.python import PythonModel


class PythonStage(LoadedStage):
    """A loaded `PYTHON` stage; see `LoadedStage` for the arguments.

    Attributes:
        function: What calls the model.
    """

    __slots__ = ("function",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.model, PythonModel)
        self.function = processing(self.model.call, "model", self.number, 1, copies=False)

    @property
    def begins_with_function(self) -> bool:
        """Always: the model is user code, too."""
        return True

    @property
    def ends_with_function(self) -> bool:
        """Always: the model is user code, too."""
        return True

    def functions(self) -> list[Processing]:
        """Return the user's functions of this stage, the model's own among them."""
        return [f for f in (self.pre, self.function, self.post) if f is not None]

    def is_harmless(self) -> bool:
        """Whether it is proven that none of them can touch files or a run's memory."""
        return all(function.is_harmless() for function in self.functions())

    def answer_each(self, runs: list[Run], desk: Desk) -> None:
        """Call the function for each run by itself."""
        self.function.answer(runs, desk)

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Call the function for this run."""
        self.function.answer([run], desk)
