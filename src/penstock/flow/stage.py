"""One loaded stage: its model, its functions, and the call of the model for one run.

Made by `penstock.flow.assemble`, driven by `penstock.flow.execute` and `penstock.flow.batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from penstock.core.errors import ModelFailed, PenstockError
from penstock.core.memory_limit import memory_hint
from penstock.core.model_types import AnyType
from penstock.core.numbers import timing_name
from penstock.flow.coerce import Converter
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.mismatch import Taker, describe, find_text
from penstock.flow.processing import Processing
from penstock.loaders.base import Model

#: Words of frameworks that mean: the model wanted whole numbers and got floating point ones.
_WANTS_INTEGERS = ("Long, Int", "scalar type Long", "expected scalar type Int")


class LoadedStage:
    """A stage that is ready to answer.

    Attributes:
        number: Stage number, from 1.
        model_type: What kind of model it holds.
        model: The loaded model.
        convert: Turns a value into what the model takes.
        pre: The function before the model, or None.
        post: The function after it, or None.
        hands_on: Whether the next model takes the output with no code of the user's in between;
            then the rows of joined calls stay joined for it.
        hand_out: Makes an output fit for user code; None when another model takes it as it is.
    """

    __slots__ = (
        "_taker",
        "convert",
        "hand_out",
        "hands_on",
        "model",
        "model_type",
        "number",
        "post",
        "pre",
    )

    def __init__(
        self,
        model_type: AnyType,
        model: Model,
        convert: Converter,
        taker: Taker,
        pre: Processing | None,
        post: Processing | None,
        is_last: bool,
        hands_on: bool,
    ) -> None:
        self.number = taker.stage
        self.model_type = model_type
        self.model = model
        self.convert = convert
        self.pre = pre
        self.post = post
        self.hands_on = hands_on
        self._taker = taker
        plain = model.takes != "tensor" or hands_on
        self.hand_out: Callable[[Any], Any] | None = None if plain else model.hand_out
        if is_last and post is None:
            self.hand_out = getattr(model, "view", self.hand_out)

    def predict(self, value: Any) -> Any:
        """Return the model's output for a converted value."""
        output = self.model.predict(value)
        return output if self.hand_out is None else self.hand_out(output)

    def functions(self) -> list[Processing]:
        """Return the user's functions of this stage, in the order they are called."""
        return [function for function in (self.pre, self.post) if function is not None]

    @property
    def begins_with_function(self) -> bool:
        """Whether user code sees first what comes to the stage."""
        return self.pre is not None

    @property
    def ends_with_function(self) -> bool:
        """Whether user code made what goes on."""
        return self.post is not None

    def steps(self) -> list[str]:
        """Return the steps as `Server-Timing` names them, in the order of `Run.spent_ns`."""
        name = timing_name(self.number)
        roles = ("pre", "model", "post")
        return [f"{name}-{r}" for r in roles if r == "model" or getattr(self, r) is not None]

    def facts(self) -> dict[str, Any]:
        """Return what people may see: model and functions."""
        return {
            "stage": int(self.number),
            "model_type": self.model_type.value,
            "functions": [role for role in ("pre", "post") if getattr(self, role) is not None],
            **self.model.describe(),
        }

    def is_harmless(self) -> bool:
        """Whether it is proven that no code of the user's can touch files or a run's memory."""
        only_library = bool(getattr(self.model, "only_library", False))
        return only_library and all(function.is_harmless() for function in self.functions())

    def answer_each(self, runs: list[Run], desk: Desk) -> None:
        """Call the model for each run by itself."""
        for run in runs:
            self.answer_alone(run, desk)

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Convert the run's value and call the model for this run only."""
        began = perf_counter_ns()
        value = run.value
        try:
            desk.before(run)
            value = self.convert(value)
            run.value = self.predict(value)
        except BaseException as error:  # noqa: BLE001 - a model must not end the worker
            run.error = self.failed(value, error)
        run.spent_ns.append(perf_counter_ns() - began)

    def failed(self, value: Any, error: BaseException) -> PenstockError:
        """Return the error for a model call on `value` that raised `error`."""
        if isinstance(error, PenstockError):
            return error
        found = _text_in(value)
        if found is not None and isinstance(error, (TypeError, ValueError)):
            return self._taker.refuse("numbers", f"{found}: {error}")
        hint = memory_hint(error)
        if self.model.takes == "tensor" and any(words in str(error) for words in _WANTS_INTEGERS):
            hint = "Give the stage a pre that returns an integer array."
        failed = ModelFailed(
            f"The model of stage {self.number} ({self.model_type.name}) raised "
            f"{type(error).__name__} on {describe(value)}: {str(error).strip()[:800]}",
            stage=self.number,
            type=type(error).__name__,
            hint=hint,
        )
        failed.__cause__ = error
        return failed


def _text_in(value: Any) -> str | None:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return find_text(value.tolist()) if kind in {"O", "U", "S"} else None
