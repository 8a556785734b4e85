"""When a webhook that was not taken is tried again. Used by `webhooks` only."""

from __future__ import annotations

import random
from dataclasses import dataclass

_HOUR = 3600.0


@dataclass(frozen=True)
class Schedule:
    """Pauses between attempts, in seconds.

    Attributes:
        first: The pauses after the first attempts.
        then: The pause after each later one.
        until: Age of a delivery beyond which it is given up.
        jitter: Share by which a pause is made longer or shorter at random, so that deliveries
            that failed together do not come together again.
    """

    first: tuple[float, ...] = (5.0, 300.0, 0.5 * _HOUR, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR)
    then: float = 24 * _HOUR
    until: float = 72 * _HOUR
    jitter: float = 0.1

    def next_at(self, attempt: int, now: float, begun_at: float) -> float | None:
        """Return when to try again; None to give up.

        Args:
            attempt: Attempts made since `begun_at`, the one that just failed included.
            now: Seconds since the epoch.
            begun_at: When the delivery was made, or asked for again by hand.
        """
        pause = self.first[attempt - 1] if attempt <= len(self.first) else self.then
        if now + pause > begun_at + self.until:
            return None
        return now + pause * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311
