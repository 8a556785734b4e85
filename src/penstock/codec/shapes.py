"""Shapes that callers announce, refused where they would make much out of nothing.

No number of bytes contradicts a shape with a 0 in it, whatever its other lengths are; as lists, or
summed over the axis of length 0, such an array takes their memory all the same. Called by `npy` and
`oip` before there is an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

from penstock.core.errors import MalformedBody

#: As many as an array has in every NumPy.
MOST_AXES = 32

#: Most lists, and so most data points, that an array without values becomes.
MOST_EMPTY_LISTS = 100_000

#: Most bytes that such an array would have if its axes of length 0 had the length 1.
MOST_EMPTY_BYTES = 128 * 1024 * 1024

_MOST_LENGTH = 2**63 - 1
_SHOWN = 100


def check_shape(what: str, shape: Sequence[int], item_bytes: int) -> None:
    """Look whether an array may have a shape; that it fits the values is for others to say.

    Args:
        what: Begins the message, for example `The npy header`.
        shape: The lengths of its axes.
        item_bytes: Size of a value in bytes.

    Raises:
        MalformedBody: More than 32 axes, a length that no array has, or lengths beside a 0 that are
            too large.
    """
    if len(shape) > MOST_AXES:
        raise MalformedBody(f"{what} has {len(shape)} axes; an array has at most {MOST_AXES}.")
    if any(not 0 <= length <= _MOST_LENGTH for length in shape):
        raise MalformedBody(f"{what} has the impossible shape {str(shape)[:_SHOWN]}.")
    if 0 in shape and _is_much(shape, item_bytes):
        raise MalformedBody(
            f"{what} has the shape {shape}, which is too large for an array without values.",
            hint="Send an empty array as one with few rows, for example (0, 784).",
        )


def count_lists(shape: Sequence[int]) -> int:
    """Return how many lists an array of a shape becomes: one for each row of each axis."""
    return sum(accumulate(shape[:-1], mul, initial=1))


def _is_much(shape: Sequence[int], item_bytes: int) -> bool:
    held = prod(length for length in shape if length) * max(item_bytes, 1)
    return count_lists(shape) > MOST_EMPTY_LISTS or held > MOST_EMPTY_BYTES
