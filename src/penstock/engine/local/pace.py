"""How many waiting calls a worker hands to its service at once. Used by `worker` only.

A round of calls costs something fixed and something for each call. Long rounds share the fixed part
among many calls. Short ones let server and worker work at the same time: while the replies of one
round go out and their callers send again, the next round is computed; with one long round each side
would only wait for the other.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.engine.local.loader import Service

#: Calls handed to the service at once, at most.
ROUND_CALLS = 256

#: A shorter round, in nanoseconds, overlaps no better.
_SHORT_NS = 120_000

#: A longer round of calls that share no work, in nanoseconds, only makes the first of them wait.
_LONG_NS = 2_000_000

#: The part of a round that is fixed: never more than the one, and no more than the other either as
#: long as another half of the waiting calls is left to go back and forth meanwhile.
_FIXED_GOAL = 1 / 10
_FIXED_MOST = 1 / 3

#: What a round counts for, one round later.
_KEPT = 0.97

#: Rounds must differ so much in size, as a part of it, before what is fixed can be told.
_SPREAD = 0.1

#: Of the rounds of calls that share work, one in so many is twice as large, to see what that costs.
_CURIOUS = 64


class Pace:
    """Learns from each round how large the next should be.

    A service that knows says so in `together`: 1 when calls gain nothing from each other, more
    when it answers so many at once. Of any other it is learnt. Costs are believed at once when they
    rise, slowly when they fall, so that a slow call neither holds up the replies of the quick ones
    before it, nor dies with more of its neighbours than need be. Only a service that says in
    `joins` that calls share work may get long rounds.
    """

    def __init__(self) -> None:
        self._call_ns = float(_LONG_NS)
        self._fixed_ns: float | None = None
        self._seen = _Seen(0.0, 0.0, 0.0, 0.0, 0.0)
        self._rounds = 0

    def size(self, service: Service, waiting: int) -> int:
        """Return how many of the waiting calls make the next round; the rounds get equal parts."""
        if waiting <= 1:
            return 1
        most: int = getattr(service, "together", 0) or self._most(
            getattr(service, "joins", False), waiting
        )
        rounds = -(-waiting // min(most, ROUND_CALLS))
        return -(-waiting // rounds)

    def learn(self, calls: int, took_ns: int) -> None:
        """Take the measure of a round: how many calls, and nanoseconds."""
        cost = max(took_ns, 1000) / calls
        self._call_ns += (0.5 if cost > self._call_ns else 0.1) * (cost - self._call_ns)
        self._seen = self._seen.with_round(float(calls), float(took_ns))
        self._rounds += 1

    def _most(self, joins: bool, waiting: int) -> int:
        short = max(1, int(_LONG_NS / self._call_ns))
        self._fixed_ns = self._seen.fixed_ns(self._fixed_ns)
        if self._fixed_ns is None:
            return max(short, 2 * self._seen.mean_calls()) if joins else short
        half = -(-waiting // 2)
        most = min(self._until(_FIXED_GOAL), max(self._until(_FIXED_MOST), half))
        if not joins:
            return min(short, most)
        return most if self._rounds % _CURIOUS else 2 * most

    def _until(self, part: float) -> int:
        """Return how many calls make a round of which only this part is fixed."""
        fixed_ns = self._fixed_ns or 0.0
        wanted_ns = max(_SHORT_NS, fixed_ns / part)
        return max(1, int((wanted_ns - fixed_ns) / self._seen.each_ns(fixed_ns)))


class _Seen(NamedTuple):
    """Weighted sums over the rounds of the recent past, for a line of least squares."""

    weight: float
    calls: float
    took: float
    squares: float
    products: float

    def with_round(self, calls: float, took_ns: float) -> _Seen:
        weight, all_calls, took, squares, products = self
        return _Seen(
            _KEPT * weight + 1,
            _KEPT * all_calls + calls,
            _KEPT * took + took_ns,
            _KEPT * squares + calls * calls,
            _KEPT * products + calls * took_ns,
        )

    def mean_calls(self) -> int:
        return int(self.calls / self.weight) if self.weight else 1

    def fixed_ns(self, before: float | None) -> float | None:
        """Return what a round costs without its calls; `before` where that cannot be told."""
        if self.weight < 2:
            return before
        mean = self.calls / self.weight
        variance = self.squares / self.weight - mean * mean
        if variance < (_SPREAD * mean) ** 2:
            return before
        slope = (self.products / self.weight - mean * self.took / self.weight) / variance
        return max(0.0, self.took / self.weight - max(0.0, slope) * mean)

    def each_ns(self, fixed_ns: float) -> float:
        """Return what a call adds to a round; at least a microsecond."""
        return max(1000.0, (self.took - fixed_ns * self.weight) / max(1.0, self.calls))
