"""How long a verdict about a replica stands, and for which loads.

A flow that gains nothing by another replica with few rows in each call may gain much with many. So
what `autoscale` found out stands for loads like the one it was found under: about as many calls at
once, answered about as quickly. Under any other load it is found out anew, and some loads are
remembered, so that calls of one kind do not undo what was found under those of another.
"""

from __future__ import annotations

from typing import NamedTuple

#: Loads are alike if each of their two figures differs by less than this factor.
ALIKE = 2.0

#: Loads that are remembered.
LOADS = 8

#: Seconds for which a load must be another one.
SETTLED_S = 0.5

#: Seconds until it is tried again to come to a verdict; doubles from time to time.
PUT_OFF_S = 1.0

#: Longest time that a verdict stands, in seconds.
MOST_S = 300.0


class Load(NamedTuple):
    """Calls in hand, on average, and calls answered a second."""

    held: float
    pace: float

    def is_like(self, other: Load) -> bool:
        """Whether what was found under one is to be believed under the other."""
        return all(max(pair) < ALIKE * min(pair) for pair in zip(self, other, strict=True))


class _Found(NamedTuple):
    """What was found under a load: since when, and for how many seconds it stands."""

    load: Load
    at: float
    stands_s: float


class Verdicts:
    """The latest verdict of a kind for each of some loads. Times are seconds on the caller's clock.

    Args:
        seconds: How long one stands for loads like its own, the first time.
        early_s: How long the latest stands for a load that none was found under; also in seconds.
    """

    def __init__(self, seconds: float, early_s: float) -> None:
        self._first, self._early_s = seconds, early_s
        self._found: list[_Found] = []  # the latest is last
        self._put_off_s = 0.0
        self._other_since: float | None = None

    def stands(self, load: Load, at: float, *, sure: bool) -> bool:
        """Whether it is still taken to be so under a load that is known for `sure`, or roughly.

        To be asked again and again while calls wait: a load is another one when it was that for
        `SETTLED_S`, since the means of a load that is just changing are those of neither.
        """
        if not self._found:
            return False
        latest = self._found[-1]
        known = self._under(load) if sure else latest
        if known is not None:
            self._other_since = None
            return at - known.at < known.stands_s
        if self._other_since is None:
            self._other_since = at
        return at < max(latest.at + self._early_s, self._other_since + SETTLED_S)

    def _under(self, load: Load) -> _Found | None:
        """Return what was found last under a load like this one."""
        return next((found for found in reversed(self._found) if load.is_like(found.load)), None)

    def note(self, load: Load, at: float, *, again: bool) -> None:
        """Note that it was found, for the first time or `again`: then it stands twice as long."""
        before = self._under(load)
        longer = 2 * before.stands_s if again and before is not None else 0.0
        self._put_off_s = max(self._early_s, 2 * self._put_off_s if again else 0.0)
        self._keep(_Found(load, at, min(MOST_S, max(self._first, longer))))

    def put_off(self, load: Load, at: float) -> None:
        """Note that it could not be found out: wait a little, longer from time to time."""
        self._put_off_s = min(MOST_S, max(PUT_OFF_S, 2 * self._put_off_s))
        self._keep(_Found(load, at, self._put_off_s))

    def _keep(self, found: _Found) -> None:
        others = [other for other in self._found if not other.load.is_like(found.load)]
        self._found = [*others[1 - LOADS :], found]
        self._other_since = None

    def forget(self) -> None:
        """Find it out anew."""
        self._found = []
        self._put_off_s = 0.0
