"""Rows of several runs that are one array already, or stay one between two models.

The short way of `penstock.flow.batch`: arrays are joined before they are converted, and an output
that goes straight into the next model is not cut up in between.
"""

from __future__ import annotations

from itertools import accumulate, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from penstock.flow.arrays import is_tensor

_ARRAYS = {np.ndarray}
_dtype = attrgetter("dtype")


class Block(NamedTuple):
    """Joined rows and how many of them belong to each run, in order."""

    value: Any
    counts: list[int]


class Piece(NamedTuple):
    """One run's rows of a block that is still whole."""

    whole: Any
    start: int
    stop: int


def gather(values: list[Any], max_rows: int) -> Block | None:
    """Return the values of several runs as one block of at most `max_rows` rows.

    None if they are not arrays of numbers of one dtype and row shape, nor the pieces of one block.
    """
    first = values[0]
    if type(first) is Piece:
        return _whole(values, max_rows)
    if type(first) is not np.ndarray or first.ndim < 2 or first.dtype.kind not in "fiub":
        return None
    # One pass each, without Python code per value: rounds have many values.
    if set(map(type, values)) != _ARRAYS or len(set(map(_dtype, values))) != 1:
        return None
    counts = list(map(len, values))
    if sum(counts) > max_rows or 0 in counts:
        return None
    try:
        return Block(np.concatenate(values), counts)
    except ValueError:  # rows of different shapes
        return None


def _whole(values: list[Any], max_rows: int) -> Block | None:
    at = 0
    counts = []
    whole = values[0].whole
    for value in values:
        if type(value) is not Piece or value.whole is not whole or value.start != at:
            return None
        at = value.stop
        counts.append(at - value.start)
    return Block(whole, counts) if at == len(whole) and at <= max_rows else None


def pieces_of(output: Any, counts: list[int]) -> list[Any] | None:
    """Return an output as pieces that stay one block; None if it has another number of rows."""
    if type(output) is not np.ndarray and not is_tensor(output):
        return None
    if not output.shape or len(output) != sum(counts):
        return None
    starts = accumulate(counts, initial=0)
    stops = accumulate(counts)
    return list(map(Piece, repeat(output), starts, stops))


def taken_out(value: Any) -> Any:
    """Return a piece's own rows; any other value as it is."""
    return value.whole[value.start : value.stop] if type(value) is Piece else value
