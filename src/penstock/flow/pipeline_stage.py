"""A HUGGINGFACE_PIPELINE stage: its data, the parameters of a call, and whose mistake a failure is.

Parameters come with the request (`{"data": …, "parameters": …}`; the first pipeline of the flow
gets them) or in a dict of that form which the function or model before returned; these go first.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

from penstock.core.errors import InputMismatch, PenstockError
from penstock.flow.context import Run, own_copy
from penstock.flow.desk import Desk
from penstock.flow.mismatch import Taker, describe, short
from penstock.flow.stage import LoadedStage
from penstock.loaders.base import Model
from penstock.loaders.media import for_each
from penstock.loaders.transformers import Prompt

#: Parameters that would have a caller load code or models, start processes or choose devices.
_NOT_FOR_CALLERS = frozenset(
    {"assistant_model", "assistant_tokenizer", "custom_generate", "device", "device_map", "model",
     "model_kwargs", "num_workers", "pipeline_class", "tokenizer", "trust_remote_code"}
)  # fmt: skip

#: Words of transformers for a parameter that nothing takes.
_UNKNOWN_PARAMETER = ("unexpected keyword argument", "not used by the model")


_NO_PLACES = (
    "The server fetches no addresses and reads no files for a caller. Send the content itself as "
    "base64, or give the stage a pre(data, files) that returns the files."
)


class PromptConverter:
    """Makes a `Prompt` of the value that reaches the stage."""

    def __init__(self, model: Model, taker: Taker) -> None:
        self._model: Any = model
        self._taker = taker

    def __call__(self, value: Any) -> Prompt:
        """Return data and parameters.

        Raises:
            InputMismatch, StageMismatch: The parameters are no dict, or the request's data holds an
                address or a path in place of a picture or sound.
        """
        parameters: Any = None
        if isinstance(value, dict) and "data" in value and value.keys() <= {"data", "parameters"}:
            value, parameters = value["data"], value.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise self._taker.refuse("parameters as a dict", describe(parameters))
        # Pipelines take dicts apart; the request's data has to stay as it is.
        data = own_copy(value)
        if self._taker.origin.is_request:
            data = for_each(data, self._from_request)
        return Prompt(data, dict(parameters or {}))

    def _from_request(self, item: Any) -> Any:
        if not isinstance(item, str):
            return item
        passed = self._model.from_request(item)
        if passed is None:
            raise self._taker.refuse("pictures and sound as base64", short(item, 60), _NO_PLACES)
        return passed


class PipelineStage(LoadedStage):
    """A loaded `HUGGINGFACE_PIPELINE` stage; see `LoadedStage` for the arguments.

    Attributes:
        takes_parameters: Whether the parameters of a request are for this stage.
    """

    __slots__ = ("takes_parameters",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.takes_parameters = False

    def answer_alone(self, run: Run, desk: Desk) -> None:
        """Convert the run's value and call the pipeline with it and the parameters."""
        began = perf_counter_ns()
        value = run.value
        sent = run.parameters if self.takes_parameters else {}
        try:
            if sent:
                check_parameters(sent, self.model, self._taker)
            desk.before(run)
            prompt = self.convert(value)
            both = Prompt(prompt.data, {**sent, **prompt.parameters})
            value = both.data
            run.value = self.predict(both)
        except BaseException as error:  # noqa: BLE001 - a model must not end the worker
            run.error = self._blamed(value, sent, error)
        run.spent_ns.append(perf_counter_ns() - began)

    def _blamed(self, value: Any, sent: dict[str, Any], error: BaseException) -> PenstockError:
        """Return the error; 422 when the caller's parameters or data are what does not fit."""
        if isinstance(error, PenstockError) or not isinstance(error, (TypeError, ValueError)):
            return self.failed(value, error)
        text = " ".join(str(error).split())[:600]
        if sent and any(words in text for words in _UNKNOWN_PARAMETER):
            failed: PenstockError = InputMismatch(
                f"The pipeline of stage {self.number} does not take these parameters "
                f"({', '.join(sorted(sent))}): {text}",
                stage=self.number,
                hint="Parameters are those of the pipeline's call, for example "
                '{"max_new_tokens": 20}.',
            )
        elif self._taker.origin.is_request:
            failed = self._taker.refuse("data for its pipeline", f"{describe(value)}: {text}")
        else:
            return self.failed(value, error)
        failed.__cause__ = error
        return failed


def check_parameters(sent: dict[str, Any], model: Any, taker: Taker) -> None:
    """Refuse parameters of a request that are for whoever deploys, at any depth.

    Raises:
        InputMismatch: There is one, or one is an address or a path that the pipeline would read.
    """
    for name, value in _pairs(sent):
        if name in _NOT_FOR_CALLERS:
            raise InputMismatch(
                f"The parameter {name!r} cannot be sent with a request.",
                stage=taker.stage,
                hint="Give it as an argument of the stage when you deploy.",
            )
        if isinstance(value, str) and model.is_place(value):
            raise InputMismatch(
                f"The parameter {name!r} is an address or a path ({short(value, 60)}).",
                stage=taker.stage,
                hint=_NO_PLACES,
            )


def _pairs(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return each name and value in nested parameters; items of a list have the list's name."""
    yield name, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(inner, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _pairs(item, name)
