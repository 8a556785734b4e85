"""How long a verdict about a replica stands, and for which loads.

A flow that gains nothing by another replica with few rows in each call may gain much with many. So
what `autoscale` found out holds for loads like the one it was found under: as many calls at once,
answered as quickly, each to about a factor of two. Under any other load it is found out anew.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: Longest time that a verdict stands, in seconds.
MOST_S = 300.0


class Load(NamedTuple):
    """Calls in hand and calls answered a second: the nearest power of two, as its exponent."""

    held: int
    pace: int


class Question(NamedTuple):
    """What is to be found out: whether a replica helps, which is there or not, under a load."""

    replica: int
    is_there: bool
    load: Load


class _Standing(NamedTuple):
    until: float
    seconds: float


def load_of(held: float, pace: float) -> Load:
    """Return the load with so many calls in hand, on average, and so many answers a second."""
    return Load(_exponent(held), _exponent(pace))


def _exponent(value: float) -> int:
    return round(math.log2(max(value, 1.0)))


class Verdicts:
    """What was found out. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._standing: dict[Question, _Standing] = {}

    def stands(self, question: Question, at: float) -> bool:
        """Whether what was found is still taken to be so."""
        return question in self._standing and at < self._standing[question].until

    def note(self, question: Question, at: float, seconds: float, *, again: bool) -> None:
        """Note that it was found out at a time, and for how many seconds that stands.

        With `again` it stands twice as long as the last time, `MOST_S` at most.
        """
        before = self._standing.get(question)
        if again and before is not None:
            seconds = min(MOST_S, 2 * before.seconds)
        self._standing[question] = _Standing(at + seconds, seconds)

    def forget(self) -> None:
        """Find out everything anew."""
        self._standing.clear()
