"""Times in buckets: eight to a doubling, and the classic bounds of Prometheus among them.

Used by `points` for figures over time and by `metrics` for histograms. A quantile is off by 5 % at
most, whatever the number of calls, and adding up two histograms loses nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

#: Upper bounds, in nanoseconds, of the buckets that Prometheus is told.
SHOWN_NS: tuple[int, ...] = tuple(
    int(seconds * 1e9)
    for seconds in (
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180,
    )
)  # fmt: skip

#: From one microsecond to twenty minutes.
_GRID = (round(1000 * 2 ** (step / 8)) for step in range(8 * 30 + 1))

#: Upper bounds in nanoseconds; bucket `i` holds times over bound `i - 1` up to bound `i`.
BOUNDS_NS: list[int] = sorted({*_GRID, *SHOWN_NS})

#: The buckets whose upper bounds Prometheus is told.
SHOWN: tuple[int, ...] = tuple(BOUNDS_NS.index(bound) for bound in SHOWN_NS)

Buckets = Counter[int]

_bucket = partial(bisect_left, BOUNDS_NS)


def buckets_of(times_ns: Iterable[int]) -> Buckets:
    """Return how many of the times fall into each bucket."""
    return Counter(map(_bucket, times_ns))


def quantiles_ms(buckets: Mapping[int, float], wanted: Sequence[float]) -> list[float | None]:
    """Return quantiles in milliseconds, each within its bucket as if times were spread evenly.

    Args:
        buckets: Times by bucket; weights need not be whole.
        wanted: From 0 to 1, rising.

    Returns:
        None for each when there are no times.
    """
    total = sum(buckets.values())
    if not total:
        return [None] * len(wanted)
    found: list[float | None] = []
    ordered = sorted(buckets.items())
    at, below = 0, 0.0
    for share in wanted:
        rank = share * total
        while at < len(ordered) - 1 and below + ordered[at][1] < rank:
            below += ordered[at][1]
            at += 1
        bucket, count = ordered[at]
        found.append(_within(bucket, min(1.0, max(0.0, (rank - below) / count))))
    return found


def _within(bucket: int, share: float) -> float:
    low = BOUNDS_NS[bucket - 1] if bucket else 0
    high = BOUNDS_NS[min(bucket, len(BOUNDS_NS) - 1)]
    return (low + share * (high - low)) / 1e6


def cumulative(buckets: Mapping[int, float]) -> list[float]:
    """Return how many times are at most each bound of `SHOWN_NS`."""
    counts = [0.0] * len(SHOWN)
    for bucket, count in buckets.items():
        at = bisect_left(SHOWN, bucket)
        if at < len(counts):
            counts[at] += count
    for index in range(1, len(counts)):
        counts[index] += counts[index - 1]
    return counts
