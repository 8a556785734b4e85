"""What every loaded model looks like to the flow: the `Model` protocol and its input specs.

`penstock.loaders.registry` finds the module that loads a model type; each such module has one
function `load(file, model_type, threads) -> Model`. The flow converts a value to what the model
takes (`penstock.flow.coerce`) and then calls `predict`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from penstock.core.errors import LoadFailed
from penstock.core.model_types import AnyType

#: What a model takes: one torch tensor, one two-dimensional table, arrays by input name, a list of
#: texts, data with parameters for a pipeline, or whatever comes.
Takes = Literal["tensor", "table", "feed", "texts", "prompt", "any"]


@dataclass(frozen=True)
class ModelFile:
    """A model's file or folder: where it is, and the name it had on the user's machine.

    `build` makes the module that weights belong to, where a stage says so.
    """

    path: Path
    name: str
    build: Callable[[], Any] | None = None

    @property
    def suffix(self) -> str:
        """The name's suffix in lower case, with its dot. A stored file has none of its own."""
        return Path(self.name).suffix.lower()


@dataclass(frozen=True)
class TensorSpec:
    """One input as the model declares it.

    Attributes:
        name: The input's name; `"input"` when the model has no names.
        dtype: NumPy name of the dtype, or None when the model takes several.
        shape: Lengths of the axes, None for a free axis; None when the model declares no shape.
        n_features: Columns of a table, or None when unknown.
        columns: Names of the columns in the model's order, or None.
    """

    name: str = "input"
    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None
    n_features: int | None = None
    columns: tuple[str, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """Return the spec as plain values for people to read; unknown fields are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Model(Protocol):
    """One loaded model. One thread at a time calls it.

    Attributes:
        takes: What `predict` is given.
        inputs: What the model declares about it; one entry, for a `"feed"` one for each input.
        joinable: Whether rows may be answered together with other requests' rows, once that is
            proven to change nothing.
        exact: Whether a row's answer alone and together must agree bit for bit; otherwise they
            may differ in the last digits, because sums are made in another order.

    A model whose calls run the library's own code, and none of the user's, also says so with
    `only_library = True`. One whose output has no JSON form has `view(output)`, which returns what
    is answered when no function follows, and `comparable(output)` if it is joinable. One that is
    not joinable says why in `never_joined`.
    """

    takes: Takes
    inputs: tuple[TensorSpec, ...]
    joinable: bool
    exact: bool

    def predict(self, value: Any) -> Any:
        """Return the model's output for a value that was coerced to what it takes."""

    def hand_out(self, output: Any) -> Any:
        """Return an output of `predict` that user code may keep and change."""

    def describe(self) -> dict[str, Any]:
        """Return facts for people: library, inputs, outputs, classes, warnings while loading."""


def read_pickle(source: ModelFile) -> Any:
    """Return the object in a file written by pickle or cloudpickle.

    Runs only in a worker or on the user's own machine. Names the missing class or module when
    the file needs code that is not here.

    Raises:
        LoadFailed: Not a pickle, or it needs a module or class that is missing.
    """
    import pickle

    try:
        with source.path.open("rb") as file:
            return pickle.load(file)
    except ModuleNotFoundError as error:
        raise LoadFailed(
            f"{source.name} needs the module {error.name!r}, which is not installed.",
            hint=f"Add it to requirements, or install {error.name!r} beside the server.",
        ) from error
    except AttributeError as error:
        raise LoadFailed(
            f"{source.name} needs a class that is not found: {error}.",
            hint="Save the model with cloudpickle.dump(model, file): it takes the class along.",
        ) from error
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise LoadFailed(
            f"{source.name} is not a complete pickle file: {str(error) or type(error).__name__}.",
            hint='Save it with pickle.dump(model, open("model.pkl", "wb")) and close the file.',
        ) from error


def read_any_pickle(source: ModelFile) -> Any:
    """Return the object in a file of pickle, cloudpickle or joblib, whatever its suffix.

    Raises:
        LoadFailed: As `read_pickle`.
    """
    if source.suffix == ".joblib":
        import joblib

        return joblib.load(source.path)
    try:
        return read_pickle(source)
    except LoadFailed:
        with suppress(Exception):  # many people name the files of joblib.dump .pkl
            import joblib

            return joblib.load(source.path)
        raise


def wrong_content(source: ModelFile, model_type: AnyType, found: Any, wanted: str) -> LoadFailed:
    """Return the error for a file that loads but does not hold what its model type needs."""
    kind = type(found)
    return LoadFailed(
        f"{source.name} holds a {kind.__module__}.{kind.__qualname__}; {model_type.name} needs "
        f"{wanted}."
    )


def library_text(module: str) -> str:
    """Return `"name version"` of an imported library."""
    version = getattr(sys.modules.get(module), "__version__", "?")
    return f"{module} {version}"
