"""Values of features and outputs, counted into the groups of a reference, and how far two differ.

Numbers are counted by the reference's deciles, texts (and booleans) by its most frequent values.
The distance of two profiles is the population stability index: the sum over groups of
`(p - q) * ln(p / q)`, where `p` and `q` are the shares of a group now and in the reference
(Siddiqi, Credit Risk Scorecards, 2006). Under 0.1 is taken for no change, over 0.2 for a change.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

#: Groups of numbers, most groups of texts, and most names that are counted.
_DECILES = 10
_CATEGORIES = 30
MOST_NAMES = 200

#: Share that a group without any value counts with: a logarithm of nothing has no value.
_LEAST_SHARE = 1e-4

#: Beyond the largest float.
_BEYOND = 2**1024

_OTHER = "…"
_LONGEST = 100


class Groups(msgspec.Struct, frozen=True):
    """How the values of one name are counted.

    Attributes:
        kind: `number` or `category`.
        edges: For numbers: the upper bounds of all groups but the last.
        names: For categories: the values that have a group of their own.
        shares: The reference's shares by group; the last two groups are other values (categories
            only) and missing ones.
        count: Values of the reference.
        mean: Their mean; None for categories.
    """

    kind: str
    edges: list[float]
    names: list[str]
    shares: list[float]
    count: int
    mean: float | None

    @property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.edges) + 2 if self.kind == "number" else len(self.names) + 2

    def group_of(self, value: Any) -> int:
        """Return the group of a value."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return self.size - 1
        if self.kind == "number":
            known = isinstance(value, int | float)
            return bisect_left(self.edges, value) if known else self.size - 1
        text = as_text(value)
        return self.names.index(text) if text in self.names else len(self.names)


class Counts(msgspec.Struct, array_like=True):
    """Values of one name in a stretch of time, by group; sum and number of the numbers."""

    groups: list[int]
    total: float = 0.0
    numbers: int = 0


#: Counts by name.
Counted = dict[str, Counts]


def groups_of(values: list[Any]) -> Groups:
    """Return the groups of reference values, with the reference's own shares."""
    present = [v for v in values if v is not None]
    numbers = [float(v) for v in present if isinstance(v, int | float) and not isinstance(v, bool)]
    few = len({*numbers}) <= _DECILES
    if numbers and len(numbers) == len(present) and not (few and all(n == int(n) for n in numbers)):
        ordered = sorted(n for n in numbers if not math.isnan(n))
        step = len(ordered) / _DECILES
        edges = sorted({ordered[min(len(ordered) - 1, int(step * i))] for i in range(1, _DECILES)})
        mean = sum(ordered) / len(ordered) if ordered else None
        bare = Groups("number", edges, [], [], len(values), mean)
    else:
        frequent = Counter(as_text(value) for value in present).most_common(_CATEGORIES)
        bare = Groups("category", [], [name for name, _ in frequent], [], len(values), None)
    counts = [0] * bare.size
    for value in values:
        counts[bare.group_of(value)] += 1
    shares = [count / max(1, len(values)) for count in counts]
    return msgspec.structs.replace(bare, shares=shares)


def as_text(value: Any) -> str:
    """Return a category as text: whole numbers without a point, so that 3 and 3.0 are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:_LONGEST]


def count_into(counted: Counted, reference: Mapping[str, Groups], row: Mapping[str, Any]) -> None:
    """Count one row's values into the groups of the reference."""
    for name, groups in reference.items():
        counts = counted.get(name)
        if counts is None:
            counts = counted[name] = Counts([0] * groups.size)
        value = row.get(name)
        counts.groups[groups.group_of(value)] += 1
        if groups.kind == "number" and isinstance(value, int | float) and _can_be_added(value):
            counts.total += value
            counts.numbers += 1


def _can_be_added(value: int | float) -> bool:
    """Whether a number has a value as a float; JSON has integers beyond all of them."""
    return abs(value) < _BEYOND


def add_counts(into: Counted, more: Counted) -> None:
    """Add what `more` counted."""
    for name, counts in more.items():
        mine = into.get(name)
        if mine is None or len(mine.groups) != len(counts.groups):
            into[name] = Counts(counts.groups.copy(), counts.total, counts.numbers)
            continue
        mine.groups = [a + b for a, b in zip(mine.groups, counts.groups, strict=True)]
        mine.total += counts.total
        mine.numbers += counts.numbers


def stability_index(groups: Groups, counts: Counts) -> float | None:
    """Return the population stability index; None when nothing was counted."""
    total = sum(counts.groups)
    if not total or len(counts.groups) != len(groups.shares):
        return None
    index = 0.0
    for count, share in zip(counts.groups, groups.shares, strict=True):
        p, q = max(count / total, _LEAST_SHARE), max(share, _LEAST_SHARE)
        index += (p - q) * math.log(p / q)
    return index


def named(item: Any, names: list[str]) -> dict[str, Any]:
    """Return the scalars of a data point or result by name.

    A dict has its own names; a list is named by `names` and by position (`"0"`, `"1"`, …) beyond
    them; a scalar is the first of them. Nested values are left out. These are the names that the
    prediction log uses.
    """
    if isinstance(item, dict):
        pairs: Iterable[tuple[str, Any]] = ((str(name), value) for name, value in item.items())
    else:
        listed = item if isinstance(item, list) else [item]
        pairs = ((names[i] if i < len(names) else str(i), v) for i, v in enumerate(listed))
    found = {}
    for name, value in pairs:
        if value is None or isinstance(value, bool | int | float | str):
            found[name] = value
            if len(found) >= MOST_NAMES:
                break
    return found


def divide(value: Any, count: int) -> list[Any]:
    """Return what of a request's data or of a result belongs to each data point."""
    if isinstance(value, list) and len(value) == count:
        return value
    if isinstance(value, dict) and value:
        columns = list(value.values())
        if all(isinstance(column, list) and len(column) == count for column in columns):
            return [{name: column[i] for name, column in value.items()} for i in range(count)]
    return [value, *[None] * (count - 1)][:count]
