"""Turns the value that reaches a stage into what the stage's model takes, and checks it.

`converter` gives each stage one function, made when the flow is assembled; who produces the value
is known then, so nothing is decided per call that could be decided before. The first lines of each
function are the usual case and cost well under a microsecond.

The rules, the same for every family:

* The request's list becomes an array; one row may be given without its outer list.
* A one-dimensional value is one row when it comes from the request or a function, and one column
  (a value per row) when another model gave it.
* Tensors and arrays are converted into each other; JSON's null is a missing value (NaN).
* Rows given as dicts, or a dict of columns, are ordered by the column names the model knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flow.arrays import Array, to_array
from penstock.flow.mismatch import Taker, describe, find_text, short
from penstock.loaders.base import Model, TensorSpec

Converter = Callable[[Any], Any]


def converter(model: Model, taker: Taker) -> Converter:
    """Return the function that converts a value for `model` or raises a mismatch error."""
    if model.takes == "tensor":
        from penstock.flow.tensors import DeviceConverter, TensorConverter

        on_cpu = getattr(model, "device", None) is None
        return (TensorConverter if on_cpu else DeviceConverter)(model, taker)
    if model.takes == "any":
        return _as_it_is
    if model.takes == "texts":
        from penstock.flow.texts import TextsConverter

        return TextsConverter(model, taker)
    if model.takes == "prompt":
        from penstock.flow.pipeline_stage import PromptConverter

        return PromptConverter(model, taker)
    if model.takes == "feed":
        from penstock.flow.feeds import FeedConverter

        return FeedConverter(model, taker)
    return TableConverter(model, taker)


def _as_it_is(value: Any) -> Any:
    return value


class TableConverter:
    """Converts to a two-dimensional table, rows × columns.

    Models that declare no number of columns may be text models: they get lists of texts as given.
    """

    def __init__(self, model: Model, taker: Taker) -> None:
        self._spec: TensorSpec = model.inputs[0]
        self._taker = taker
        self._features = self._spec.n_features
        self._numeric = self._spec.dtype is not None
        columns = "rows" if self._features is None else f"rows of {self._features}"
        self._expected = f"{columns} numbers" if self._numeric else f"{columns} values"

    def __call__(self, value: Any) -> Any:
        """Return `value` as a table the model takes.

        Raises:
            InputMismatch, StageMismatch: It does not fit; says what was expected and what came.
        """
        numpy = getattr(value, "numpy", None)
        if numpy is not None and type(value) is not np.ndarray:
            value = to_array(value, self._taker, self._expected)
        if type(value) is np.ndarray and value.ndim == 2 and value.dtype.kind in "fiub":
            if self._features is None or value.shape[1] == self._features:
                return value
            raise self._refuse_columns(value)
        return self._convert(value)

    def _convert(self, value: Any) -> Any:
        if self._is_left_alone(value):
            return value
        named = self._by_name(value)
        table = to_array(value if named is None else named, self._taker, self._expected)
        if self._takes_texts(table):
            return table
        table = self._lift(table)
        if self._numeric and table.dtype.kind not in "fiub":
            found = find_text(table.tolist()) or describe(value)
            raise self._taker.refuse(self._expected, found)
        if self._features is not None and table.shape[1] != self._features:
            raise self._refuse_columns(table)
        return table

    def _is_left_alone(self, value: Any) -> bool:
        """Whether the model takes the value as it is: frames, sparse matrices, texts."""
        if hasattr(value, "iloc") or (hasattr(value, "toarray") and hasattr(value, "tocsr")):
            width = value.shape[1] if len(value.shape) == 2 else None
            if self._features is not None and width is not None and width != self._features:
                raise self._refuse_columns(value)
            return width is not None
        if self._features is not None or self._numeric:
            return False
        if isinstance(value, str):
            raise self._taker.refuse("a list of texts", describe(value))
        first = value[0] if isinstance(value, (list, tuple)) and value else None
        return isinstance(first, (str, dict)) and self._spec.columns is None

    def _takes_texts(self, table: Array) -> bool:
        unknown = self._features is None and not self._numeric
        return unknown and table.ndim == 1 and table.dtype.kind in "OU"

    def _by_name(self, value: Any) -> list[list[Any]] | None:
        names = self._spec.columns
        if isinstance(value, dict):
            if names is None:
                hint = "Its model file knows no column names: give lists in the model's order."
                raise self._taker.refuse(self._expected, describe(value), hint)
            return self._columns(value, names)
        if not isinstance(value, (list, tuple)) or not value or not isinstance(value[0], dict):
            return None
        if names is None:
            hint = "Its model file knows no column names: give lists in the model's order."
            raise self._taker.refuse(self._expected, describe(value), hint)
        rows: list[list[Any]] = []
        for index, row in enumerate(value):
            if not isinstance(row, dict):
                raise self._taker.refuse(self._expected, f"{describe(row)} in row {index}")
            self._check_names(row, names, f" in row {index}")
            rows.append([row[name] for name in names])
        return rows

    def _columns(self, value: dict[Any, Any], names: tuple[str, ...]) -> list[list[Any]]:
        self._check_names(value, names, "")
        columns = [value[name] for name in names]
        if not isinstance(columns[0], (list, tuple)):
            return [columns]
        lengths = {
            name: len(value[name]) for name in names if isinstance(value[name], (list, tuple))
        }
        if len(lengths) != len(names) or len(set(lengths.values())) != 1:
            raise self._taker.refuse(self._expected, f"columns of different lengths: {lengths}")
        return [list(row) for row in zip(*columns, strict=True)]

    def _check_names(self, row: dict[Any, Any], names: tuple[str, ...], where: str) -> None:
        missing = [name for name in names if name not in row]
        unknown = [key for key in row if key not in names]
        if missing or unknown:
            parts = [f"without {short(missing)}"] if missing else []
            parts += [f"with the unknown {short(unknown)}"] if unknown else []
            raise self._taker.refuse(
                f"the columns {short(list(names), 200)}", f"a dict {' and '.join(parts)}{where}"
            )

    def _lift(self, table: Array) -> Array:
        if table.ndim == 2:
            return table
        if table.ndim == 0:
            return table.reshape(1, 1)
        if table.ndim == 1:
            return table.reshape(-1, 1) if self._taker.origin.is_model else table.reshape(1, -1)
        raise self._taker.refuse(f"a table ({self._expected})", describe(table))

    def _refuse_columns(self, table: Any) -> Exception:
        return self._taker.refuse(
            f"{self._features} values per row",
            f"{table.shape[1]} ({describe(table)})",
        )
