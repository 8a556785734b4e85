"""How long a verdict about a replica stands, and for which loads.

A flow that gains nothing by another replica with few rows in each call may gain much with many. So
what `autoscale` found out holds for loads like the one it was found under: about as many calls at
once, answered about as quickly. Under any other load it is found out anew.
"""

from __future__ import annotations

from typing import NamedTuple

#: Loads are alike if each of their two figures differs by less than this factor.
ALIKE = 2.0

#: Longest time that a verdict stands, in seconds.
MOST_S = 300.0


class Load(NamedTuple):
    """Calls in hand, on average, and calls answered a second."""

    held: float
    pace: float

    def is_like(self, other: Load) -> bool:
        """Whether what was found under one is to be believed under the other."""
        return all(max(pair) < ALIKE * min(pair) for pair in zip(self, other, strict=True))


class Question(NamedTuple):
    """What is to be found out under a load: whether a replica helps, which is there or not."""

    replica: int
    is_there: bool


class _Standing(NamedTuple):
    load: Load
    until: float
    seconds: float


class Verdicts:
    """What was found out. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._standing: dict[Question, list[_Standing]] = {}

    def stands(self, question: Question, load: Load, at: float) -> bool:
        """Whether what was found under loads like this one is still taken to be so."""
        found = self._standing.get(question, ())
        return any(at < one.until and one.load.is_like(load) for one in found)

    def note(
        self, question: Question, load: Load, at: float, seconds: float, *, again: bool
    ) -> None:
        """Note that it was found out at a time, and for how many seconds that stands.

        With `again` it stands twice as long as the last time, `MOST_S` at most.
        """
        found = self._standing.setdefault(question, [])
        before = [one for one in found if one.load.is_like(load)]
        if again and before:
            seconds = min(MOST_S, 2 * max(one.seconds for one in before))
        others = [one for one in found if one not in before]
        self._standing[question] = [*others, _Standing(load, at + seconds, seconds)]

    def forget(self) -> None:
        """Find out everything anew."""
        self._standing.clear()
