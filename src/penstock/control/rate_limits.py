"""How many requests a key may make: a token bucket for each key that has a limit.

`keys.Keys` asks for every request, so a key without a limit costs one look at an attribute, and one
with a limit a few hundred nanoseconds. Buckets are in the server process only; extra gateways
forward their calls to it, so a limit holds for all of them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.core.errors import RateLimited
from penstock.core.records import KeyRecord

#: Buckets remembered; when there are more, all keys begin with a full one.
MOST_BUCKETS = 100_000


class RateLimits:
    """The buckets of all keys.

    Args:
        per_s: Requests a second of a key without a limit of its own; 0 for no limit.
        burst: Requests at once; 0 for those of a second, and one at least.
        clock: Seconds that only grow.
    """

    def __init__(
        self, per_s: float = 0.0, burst: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        #: Whether any key can have a limit at all.
        self.is_on = per_s > 0
        self._buckets: dict[str, tuple[float, float]] = {}

    def know(self, record: KeyRecord) -> None:
        """Take notice of a key: one with a limit of its own turns the limits on."""
        self.is_on = self.is_on or bool(record.rate_per_s)

    def take(self, record: KeyRecord) -> None:
        """Count one request of a key.

        Raises:
            RateLimited: It made more than it may; `retry_after_s` says when to come again.
        """
        per_s = self._per_s if record.rate_per_s is None else record.rate_per_s
        if not per_s:
            return
        now = self._clock()
        size = float(self._burst) or max(1.0, per_s)
        tokens, at = self._buckets.get(record.key_id, (size, now))
        tokens = min(size, tokens + (now - at) * per_s)
        if tokens < 1.0:
            self._buckets[record.key_id] = (tokens, now)
            raise _too_many(record, per_s, (1.0 - tokens) / per_s)
        if len(self._buckets) >= MOST_BUCKETS and record.key_id not in self._buckets:
            self._buckets.clear()
        self._buckets[record.key_id] = (tokens - 1.0, now)


def _too_many(record: KeyRecord, per_s: float, wait_s: float) -> RateLimited:
    return RateLimited(
        f"The key {record.prefix} may make {per_s:g} requests a second and made more.",
        hint=f"Try again in {wait_s:.2g} s, or ask for a key with a higher limit.",
        retry_after_s=wait_s,
    )
