"""MLFLOW: a folder that `mlflow.<flavour>.save_model` wrote, called as `mlflow.pyfunc` calls it.

The model's signature says what it takes: columns make it a table, tensors make it arrays by name.
A table of numbers that was made to fit the signature is given to the flavour itself, because
MLflow's `predict` would enforce the signature once more, which takes longer than most models do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text

#: Column types of MLflow that hold numbers, and their NumPy dtypes.
_NUMBERS: dict[str, str] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
}


class MlflowModel:
    """A saved model of any flavour. Takes a table, or arrays by name when it declares tensors."""

    joinable = True
    exact = False

    def __init__(self, model: Any, flavours: list[str]) -> None:
        self._model = model
        self._flavours = flavours
        schema = model.metadata.get_input_schema()
        self._frame: Callable[[Any], Any] | None = None
        self._call: Callable[[Any], Any] = model.predict
        self._single = False
        self.takes: Takes = "table"
        if schema is None:
            self.inputs: tuple[TensorSpec, ...] = (TensorSpec(),)
        elif schema.is_tensor_spec():
            self.takes = "feed"
            self._single = not schema.has_input_names()
            self.inputs = tuple(map(_tensor, schema.inputs))
        else:
            self._take_columns(schema)

    def _take_columns(self, schema: Any) -> None:
        names = [str(name) for name in schema.input_names()]
        kinds = [str(getattr(kind, "name", kind)) for kind in schema.input_types()]
        numeric = all(kind in _NUMBERS for kind in kinds)
        columns = tuple(names) if schema.has_input_names() else None
        width = len(kinds)
        dtype = "float64" if numeric else None
        self.inputs = (TensorSpec("input", dtype, (None, width), width, columns),)
        if columns is None:
            return
        self._frame = _frame_maker(names, [_NUMBERS.get(kind) for kind in kinds])
        inner = getattr(self._model, "_model_impl", None)
        if numeric and self._model.metadata.get_params_schema() is None and inner is not None:
            self._call = inner.predict

    def predict(self, value: Any) -> Any:
        """Return what the model's `predict` returns, data frames and series as arrays."""
        if self.takes == "feed":
            output = self._call(value[self.inputs[0].name] if self._single else value)
        else:
            is_array = type(value) is np.ndarray
            output = self._call(self._frame(value) if self._frame and is_array else value)
        if hasattr(output, "to_numpy") and hasattr(output, "iloc"):
            return output.to_numpy()
        return output

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is fresh."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, flavours and inputs."""
        return {
            "library": library_text("mlflow"),
            "flavours": self._flavours,
            "inputs": [spec.facts() for spec in self.inputs],
        }


def load(file: ModelFile, _model_type: ModelType, _threads: int) -> MlflowModel:
    """Return the model in a folder of MLflow. Runs the code that its flavour loads.

    Raises:
        LoadFailed: Not a folder of MLflow, or it has no `python_function` flavour.
    """
    if not (file.path / "MLmodel").is_file():
        raise LoadFailed(
            f"The folder {file.name} has no MLmodel file, so MLflow did not save it.",
            hint="Save the model with mlflow.sklearn.save_model(model, folder), or the function "
            "of its own flavour; give the folder that has the MLmodel file.",
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.pyfunc

    # A loaded model must not look for a tracking server: it is complete as it is.
    model = mlflow.pyfunc.load_model(str(file.path), suppress_warnings=True)
    flavours = sorted(set(model.metadata.flavors) - {"python_function"})
    return MlflowModel(model, flavours)


def _tensor(spec: Any) -> TensorSpec:
    shape = tuple(None if axis < 0 else int(axis) for axis in spec.shape)
    return TensorSpec(str(spec.name or "input"), np.dtype(spec.type).name, shape)


def _frame_maker(names: list[str], dtypes: list[str | None]) -> Callable[[Any], Any]:
    import pandas as pd

    known = {name: dtype for name, dtype in zip(names, dtypes, strict=True) if dtype is not None}
    kinds = set(dtypes)

    def frame(table: Any) -> Any:
        if len(kinds) == 1 and table.dtype.name in kinds:
            return pd.DataFrame(table, columns=names, copy=False)
        made = pd.DataFrame(table, columns=names, copy=False)
        for name, dtype in known.items():
            column = made[name].to_numpy()
            cast = column.astype(dtype)
            if cast.dtype.kind in "ib" and not np.array_equal(cast, column):
                raise ValueError(f"the column {name!r} takes whole numbers ({dtype})")
            made[name] = cast
        return made if len(known) == len(names) else made.infer_objects()

    return frame
