"""How long a verdict about a replica stands, and for which loads.

A flow that gains nothing by another replica with few rows in each call may gain much with many. So
what `autoscale` found out stands for loads like the one it was found under: about as many calls at
once, answered about as quickly. Under any other load it is found out anew, but not at every turn of
a load that changes all the time.
"""

from __future__ import annotations

from typing import NamedTuple

#: Loads are alike if each of their two figures differs by less than this factor.
ALIKE = 2.0

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


class Verdict:
    """The latest verdict of a kind. Times are seconds on the caller's clock.

    Args:
        seconds: How long it stands for loads like its own, the first time.
        early_s: How long it stands for any load, the first time; also in seconds.
    """

    def __init__(self, seconds: float, early_s: float) -> None:
        self._first, self._first_early = seconds, early_s
        self._load: Load | None = None
        self._found_at = 0.0
        self._stands_s = self._early_s = 0.0
        self._other_since: float | None = None

    def stands(self, load: Load, at: float, *, sure: bool) -> bool:
        """Whether it is still taken to be so under a load that is known for `sure`, or roughly.

        To be asked again and again while calls wait: a load is another one when it was that for
        `SETTLED_S`, since the means of a load that is just changing are those of neither.
        """
        if self._load is None:
            return False
        if not sure or load.is_like(self._load):
            self._other_since = None
            return at - self._found_at < self._stands_s
        if self._other_since is None:
            self._other_since = at
        since = max(self._found_at + self._early_s, self._other_since + SETTLED_S)
        return at < min(since, self._found_at + self._stands_s)

    def note(self, load: Load, at: float, *, again: bool) -> None:
        """Note that it was found, for the first time or `again`: then it stands twice as long."""
        self._stands_s = min(MOST_S, max(self._first, 2 * self._stands_s if again else 0.0))
        self._early_s = min(MOST_S, max(self._first_early, 2 * self._early_s if again else 0.0))
        self._load, self._found_at, self._other_since = load, at, None

    def put_off(self, load: Load, at: float) -> None:
        """Note that it could not be found out: wait a little, longer from time to time."""
        self._stands_s = self._early_s = min(MOST_S, max(PUT_OFF_S, 2 * self._early_s))
        self._load, self._found_at, self._other_since = load, at, None

    def forget(self) -> None:
        """Find it out anew."""
        self._load = None
        self._stands_s = self._early_s = 0.0
