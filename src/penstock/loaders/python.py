"""PYTHON: the user's own function or class as a model.

There is no file: `penstock.flow.assemble` gives `hold` the callable, in a worker after it was
unpickled, on the user's machine as it is.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from penstock.core.errors import LoadFailed
from penstock.loaders.base import Takes, TensorSpec


class PythonModel:
    """A function that takes one value. It is called for each run by itself: never joined."""

    takes: Takes = "any"
    inputs: tuple[TensorSpec, ...] = (TensorSpec(),)
    joinable = False
    never_joined = "It is a function of one request."
    exact = True

    def __init__(self, call: Callable[[Any], Any], name: str) -> None:
        self.call = call
        self._name = name

    def predict(self, value: Any) -> Any:
        """Return what the function returns."""
        return self.call(value)

    def hand_out(self, output: Any) -> Any:
        """Return the output as it is."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return the function's name."""
        return {"library": "python", "function": self._name}


def hold(given: Callable[..., Any]) -> PythonModel:
    """Return the model of a `PYTHON` stage.

    Args:
        given: A function of one value, or a class. A class is made once, then its `setup()` is
            called if it has one; its `predict`, or else the object itself, answers.

    Raises:
        LoadFailed: Making the object or its `setup` raised; the traceback is in the error.
    """
    name = str(getattr(given, "__name__", type(given).__name__))
    if not isinstance(given, type):
        return PythonModel(given, name)
    step = f"{name}()"
    try:
        made: Any = given()
        setup = getattr(made, "setup", None)
        if setup is not None:
            step = f"{name}.setup()"
            setup()
    except Exception as error:
        raise LoadFailed(
            f"{step} raised {type(error).__name__}: {error}",
            function="model",
            type=type(error).__name__,
            traceback=traceback.format_exc(),
        ) from error
    return PythonModel(getattr(made, "predict", made), name)
