"""Converts the value that reaches an ONNX stage to arrays by input name.

A dict gives inputs by name. A list of dicts is a batch: one dict per row. A bare array or list is
taken when the model has exactly one input. Every array is cast to the dtype the model declares, and
its rank and fixed axes are compared with the declared shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.flow.arrays import Array, to_array
from penstock.flow.mismatch import Taker, describe, find_text, short
from penstock.loaders.base import Model, TensorSpec


class FeedConverter:
    """Makes the dict of arrays that a session is fed."""

    def __init__(self, model: Model, taker: Taker) -> None:
        self._specs = {spec.name: spec for spec in model.inputs}
        self._only = model.inputs[0] if len(model.inputs) == 1 else None
        self._taker = taker
        self._dtypes = {
            spec.name: None if spec.dtype is None else np.dtype(spec.dtype) for spec in model.inputs
        }
        self._expected = "a dict with the inputs " + ", ".join(
            f"{spec.name!r} ({_declared(spec)})" for spec in model.inputs
        )

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return arrays by input name.

        Raises:
            InputMismatch, StageMismatch: An input is missing or unknown, or its dtype, rank or
                shape is not what the model declares.
        """
        if isinstance(value, dict):
            self._check_names(value, "")
            return {name: self._input(spec, value[name]) for name, spec in self._specs.items()}
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            return self._batch(value)
        if self._only is None:
            raise self._taker.refuse(self._expected, describe(value))
        return {self._only.name: self._input(self._only, value)}

    def _check_names(self, given: dict[Any, Any], where: str) -> None:
        missing = [name for name in self._specs if name not in given]
        unknown = [key for key in given if key not in self._specs]
        if missing or unknown:
            parts = [f"without {short(missing)}"] if missing else []
            parts += [f"with the unknown {short(unknown)}"] if unknown else []
            raise self._taker.refuse(self._expected, f"a dict {' and '.join(parts)}{where}")

    def _batch(self, rows: Any) -> dict[str, Any]:
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise self._taker.refuse(self._expected, f"{describe(row)} in row {index}")
            self._check_names(row, f" in row {index}")
        if len(rows) == 1:
            row = rows[0]
            return {name: self._input(spec, row[name]) for name, spec in self._specs.items()}
        return {
            name: self._rows(spec, [row[name] for row in rows])
            for name, spec in self._specs.items()
        }

    def _rows(self, spec: TensorSpec, values: list[Any]) -> Array:
        if not spec.shape or spec.shape[0] is not None:
            raise self._taker.refuse(
                f"one value for input {spec.name!r} ({_declared(spec)})",
                f"a list of {len(values)} dicts",
                "The model's first axis is fixed: send one dict per request.",
            )
        parts = [self._input(spec, value) for value in values]
        try:
            return np.concatenate(parts, axis=0)
        except ValueError:
            shapes = [part.shape for part in parts[:5]]
            raise self._taker.refuse(
                f"rows of one shape for input {spec.name!r}", f"the shapes {shapes}"
            ) from None

    def _input(self, spec: TensorSpec, value: Any) -> Any:
        dtype = self._dtypes[spec.name]
        if dtype is None:
            return value
        if type(value) is not np.ndarray:
            value = to_array(value, self._taker, self._words(spec))
        if value.dtype != dtype:
            value = self._cast(spec, value, dtype)
        if spec.shape is not None and value.shape != spec.shape:
            value = self._fit(spec, value)
        return value

    def _cast(self, spec: TensorSpec, array: Array, dtype: np.dtype[Any]) -> Array:
        if dtype.kind == "O":
            return array.astype(object)
        if array.dtype.kind not in "fiub":
            found = find_text(array.tolist()) or describe(array)
            raise self._taker.refuse(self._words(spec), found)
        cast = array.astype(dtype)
        if dtype.kind in "iub" and not np.array_equal(cast, array):
            hint = "Round the numbers, or give the stage a pre that does."
            raise self._taker.refuse(self._words(spec), describe(array), hint)
        return cast

    def _fit(self, spec: TensorSpec, array: Array) -> Array:
        shape = spec.shape or ()
        lifted = array
        if array.ndim == len(shape) - 1 and shape[0] in {None, 1}:
            column = self._taker.origin.is_model and array.ndim == 1
            lifted = array.reshape(-1, 1) if column else array[None]
        fits = lifted.ndim == len(shape) and all(
            want is None or want == got for want, got in zip(shape, lifted.shape, strict=True)
        )
        if not fits:
            raise self._taker.refuse(self._words(spec), describe(array))
        return lifted

    def _words(self, spec: TensorSpec) -> str:
        return f"{_declared(spec)} for input {spec.name!r}"


def _declared(spec: TensorSpec) -> str:
    if spec.shape is None:
        return spec.dtype or "any value"
    axes = ", ".join("any" if axis is None else str(axis) for axis in spec.shape)
    return f"{spec.dtype or 'any dtype'} of shape ({axes})"
