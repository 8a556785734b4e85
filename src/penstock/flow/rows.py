"""Joining values along the first axis, splitting outputs again, and comparing rows.

Used by `penstock.flow.batch`. Knows arrays, tensors, dicts of arrays and lists of texts; anything
else is not joined.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from penstock.flow.arrays import is_tensor, tensor_values

#: Largest difference that counts as the same, relative to the largest number of the answer, where
#: a model does not promise equal bits: sums made in another order differ by this much at most.
TOLERANCE: dict[str, float] = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-9}


def join_key(value: Any) -> Hashable | None:
    """Return what two values must have in common to be joined; None if it cannot be joined."""
    if type(value) is np.ndarray:
        return (value.dtype, value.shape[1:]) if value.ndim else None
    if is_tensor(value):
        return (value.dtype, value.shape[1:]) if value.dim() else None
    if type(value) is dict and value:
        keys = tuple((name, join_key(part)) for name, part in value.items())
        rows = {row_count(part) for part in value.values()}
        return None if len(rows) != 1 or any(key is None for _, key in keys) else keys
    if type(value) is list and value and set(map(type, value)) == {str}:
        return "texts"
    return None


def row_count(value: Any) -> int:
    """Return the length of the first axis of a value that has a `join_key`; -1 for others."""
    if type(value) is dict:
        return row_count(next(iter(value.values())))
    if type(value) is list:
        return len(value)
    shape = getattr(value, "shape", None)
    return int(shape[0]) if shape else -1


def join(values: list[Any]) -> Any:
    """Return values of one `join_key` joined along the first axis."""
    first = values[0]
    if type(first) is np.ndarray:
        return np.concatenate(values)
    if type(first) is dict:
        return {name: join([value[name] for value in values]) for name in first}
    if type(first) is list:
        return [item for value in values for item in value]
    import torch

    return torch.cat(values)


def varied(value: Any) -> Any | None:
    """Return other rows of the same kind: values moved by one column, or scaled; None if neither.

    Numbers stay in the range they were in, so that rows made up like this suit most models.
    """
    if is_tensor(value):
        other = value.roll(1, -1)
        if bool((other == value).all()) and value.dtype.is_floating_point:
            other = value * 0.5 + 0.25
        return None if bool((other == value).all()) else other
    if type(value) is not np.ndarray:
        return None
    other = np.roll(value, 1, axis=-1)
    if np.array_equal(other, value) and value.dtype.kind == "f":
        other = value * value.dtype.type(0.5) + value.dtype.type(0.25)
    return None if np.array_equal(other, value) else other


def split(output: Any, counts: list[int]) -> list[Any] | None:
    """Return an output's rows in pieces of `counts` rows; None if it has not so many rows."""
    if isinstance(output, dict):
        pieces = {name: split(part, counts) for name, part in output.items()}
        if not pieces or any(piece is None for piece in pieces.values()):
            return None
        return [
            {name: piece[i] for name, piece in pieces.items() if piece is not None}
            for i in range(len(counts))
        ]
    if isinstance(output, tuple):
        parts = [split(part, counts) for part in output]
        if not parts or any(part is None for part in parts):
            return None
        return [tuple(part[i] for part in parts if part) for i in range(len(counts))]
    is_list = type(output) is list
    if not is_list and type(output) is not np.ndarray and not is_tensor(output):
        return None
    if (len(output) if is_list else row_count(output)) != sum(counts):
        return None
    return _cut(output, counts)


def _cut(output: Any, counts: list[int]) -> list[Any]:
    if type(output) is np.ndarray and len(counts) == len(output) and 0 not in counts:
        return list(output[:, None])  # one row each: twice as fast as slices
    pieces = []
    start = 0
    for count in counts:
        pieces.append(output[start : start + count])
        start += count
    return pieces


def same_rows(alone: Any, together: Any, exact: bool) -> bool:
    """Whether two answers for the same rows are the same, bit for bit or within `TOLERANCE`."""
    if type(alone) is not type(together):
        return False
    if isinstance(alone, dict):
        return alone.keys() == together.keys() and all(
            same_rows(alone[key], together[key], exact) for key in alone
        )
    if isinstance(alone, (list, tuple)):
        return len(alone) == len(together) and all(
            same_rows(a, b, exact) for a, b in zip(alone, together, strict=True)
        )
    if is_tensor(alone):
        alone, together = tensor_values(alone), tensor_values(together)
    one, two = np.asarray(alone), np.asarray(together)
    if one.dtype != two.dtype or one.shape != two.shape:
        return False
    return _same_numbers(one, two, exact)


def _same_numbers(one: Any, two: Any, exact: bool) -> bool:
    tolerance = TOLERANCE.get(one.dtype.name, 0.0)
    if exact or tolerance == 0.0:
        return bool(one.tobytes() == two.tobytes() or np.array_equal(one, two))
    finite = np.abs(one[np.isfinite(one)])
    largest = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(one, two, rtol=tolerance, atol=tolerance * largest, equal_nan=True))
