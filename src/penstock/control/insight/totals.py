"""All that one version did since the server started, as `metrics` tells it.

`recorder` adds to it; nothing of it is stored, because whoever reads metrics keeps them.
"""

from __future__ import annotations

from bisect import bisect_left

from penstock.control.insight.histogram import SHOWN_NS
from penstock.control.insight.points import MOST_PARTS, Point
from penstock.control.insight.timings import Part

_SHOWN_MS = [bound / 1e6 for bound in SHOWN_NS]


class Totals:
    """Sums that only grow.

    Attributes:
        point: Calls, errors, times and rows.
        parts: For each part of the time: calls by bound of `histogram.SHOWN_NS` (not added up; the
            last is for what is longer).
    """

    def __init__(self) -> None:
        self.point = Point()
        self.parts: dict[str, list[float]] = {}

    def add_parts(self, parts: list[Part], weight: float) -> None:
        """Add the parts of one call that stands for `weight` calls."""
        for part in parts:
            counts = self.parts.get(part.name)
            if counts is None:
                if len(self.parts) >= MOST_PARTS:
                    continue
                counts = self.parts[part.name] = [0.0] * (len(_SHOWN_MS) + 1)
            counts[bisect_left(_SHOWN_MS, part.ms)] += weight
