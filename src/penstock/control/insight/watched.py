"""One version's tally with what `recorder` has seen of it: takes what is new, says what is kept."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.control.insight.histogram import buckets_of
from penstock.control.insight.kept_calls import KeepOptions
from penstock.control.insight.points import Point
from penstock.control.insight.timings import read_parts
from penstock.control.insight.totals import Totals
from penstock.control.tally import Tally
from penstock.engine.base import VersionKey

#: Most calls of one version and tick whose parts are read; of more, an even sample stands for all.
READ_PER_TICK = 100

#: Good calls of a version that may be kept at once, when none was kept for a while.
BURST = 20.0

EVERY = 1 << 60


class Watched:
    """One tally.

    Attributes:
        key: Its version.
        observed: Good calls that the deployment's observer still gets until the next tick.
        left: Good calls that are still to be kept until the next tick.
    """

    def __init__(self, key: VersionKey, tally: Tally) -> None:
        self.key = key
        self.tally = tally
        self.left = int(BURST)
        self.observed = 0
        self._codes: dict[str, int] = {}
        self._cancelled = 0
        self._credit = BURST

    def take(self, totals: Totals) -> Point:
        """Return what was answered since the last time; parts are added to `totals`, too."""
        tally, point = self.tally, Point()
        point.most_in_hand = tally.in_hand
        if tally.cancelled != self._cancelled:
            point.cancelled = tally.cancelled - self._cancelled
            self._cancelled = tally.cancelled
        took, timings = tally.take(READ_PER_TICK)
        if not took:
            return point
        point.add_times(len(took), sum(took), buckets_of(took))
        if tally.codes != self._codes:
            before, self._codes = self._codes, dict(tally.codes)
            changed = {c: n - before.get(c, 0) for c, n in tally.codes.items()}
            point.errors = {code: number for code, number in changed.items() if number}
        each = len(took) / len(timings)
        for timing, count in evenly(timings, READ_PER_TICK):
            parts = read_parts(timing.decode("latin-1"))
            point.add_parts(parts, count * each)
            totals.add_parts(parts, count * each)
        return point

    def grant(self, options: KeepOptions, passed_s: float) -> int:
        """Return how many good calls are to be kept until the next tick; sets `left`."""
        if options.successes == "all":
            self.left = EVERY
        elif options.successes == "some":
            spent = int(self._credit) - self.left
            credit = self._credit - spent + passed_s * options.per_minute / 60
            self._credit = min(BURST, credit)
            self.left = int(self._credit)
        return self.left


def evenly(timings: list[bytes], most: int) -> Iterator[tuple[bytes, int]]:
    """Yield at most so many of the texts, evenly spread, each with how many it stands for."""
    count = len(timings)
    if count <= most:
        yield from ((timing, 1) for timing in timings)
        return
    for index in range(most):
        first, following = index * count // most, (index + 1) * count // most
        yield timings[first], following - first
