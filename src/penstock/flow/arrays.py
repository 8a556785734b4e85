"""Nested lists, tensors and other array-likes to NumPy arrays, with errors that name the row.

Shared by the converters of `penstock.flow.coerce`, `tensors` and `feeds`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from penstock.codec.arrays import tensor_to_array
from penstock.flow.mismatch import Taker, describe, find_text, ragged_row

Array = np.ndarray[Any, np.dtype[Any]]


def is_tensor(value: Any) -> bool:
    """Whether `value` is a torch tensor, without importing torch."""
    kind: Any = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(value, kind)


def tensor_values(tensor: Any) -> Array:
    """Return a tensor's values as an array, sharing memory where that can be."""
    try:
        return tensor.numpy()  # type: ignore[no-any-return]
    except (RuntimeError, TypeError):
        return np.asarray(tensor_to_array(tensor))


def to_array(value: Any, taker: Taker, expected: str) -> Array:
    """Return any array-like as an array. JSON's null becomes NaN among numbers.

    Args:
        value: Nested lists, scalars, arrays, tensors, lists of arrays or tensors, frames, sparse.
        taker: Whom to name in an error.
        expected: What the model takes, as words.

    Returns:
        An array of numbers, or of dtype object when there is text in it.

    Raises:
        PenstockError: Rows of different lengths, or something that is no array at all.
    """
    if value is None:
        raise taker.refuse(expected, "null (None)")
    if type(value) is np.ndarray:
        return _settle(value, value, taker, expected)
    if is_tensor(value):
        return tensor_values(value)
    if hasattr(value, "toarray"):
        return np.asarray(value.toarray())
    if hasattr(value, "to_numpy"):
        return _settle(np.asarray(value.to_numpy()), value, taker, expected)
    if isinstance(value, (list, tuple)) and value and is_tensor(value[0]):
        value = [tensor_values(item) if is_tensor(item) else item for item in value]
    try:
        made = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise _uneven(value, taker, expected, error) from None
    return _settle(made, value, taker, expected)


def _settle(made: Array, value: Any, taker: Taker, expected: str) -> Array:
    kind = made.dtype.kind
    if kind in "fiub":
        return made
    if kind in "US":  # NumPy has turned the numbers beside the text into text as well
        return np.asarray(value, dtype=object) if isinstance(value, (list, tuple)) else made
    if kind == "O" and find_text(made.ravel().tolist()) is None:
        try:
            return made.astype(np.float64)
        except (ValueError, TypeError):
            raise taker.refuse(expected, describe(value)) from None
    if kind == "O":
        return made
    raise taker.refuse(expected, describe(made))


def _uneven(value: Any, taker: Taker, expected: str, error: Exception) -> Exception:
    if isinstance(value, (list, tuple)):
        plain = [item.tolist() if hasattr(item, "tolist") else item for item in value]
        uneven = ragged_row(plain)
        if uneven is not None:
            return taker.refuse(
                expected, f"rows of different lengths: {uneven}", "Give every row the same length."
            )
    return taker.refuse(expected, f"{describe(value)}: {error}")
