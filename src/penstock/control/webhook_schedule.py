"""When a webhook that was not taken is tried again. Used by `webhooks` only."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MINUTE = 60.0
_HOUR = 3600.0


@dataclass(frozen=True)
class Schedule:
    """Pauses between attempts, in seconds.

    Attributes:
        first: The pauses after the first attempts.
        then: The pause after each later one.
        until: No attempt is made later than this after the first one, but for `jitter`.
        jitter: Share by which a pause is made longer or shorter at random, so that deliveries
            that failed together do not come together again.
    """

    first: tuple[float, ...] = (
        5.0,
        5 * _MINUTE,
        30 * _MINUTE,
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
    )
    then: float = 24 * _HOUR
    until: float = 72 * _HOUR
    jitter: float = 0.1

    def pauses(self) -> list[float]:
        """Return all pauses, without jitter: after the first attempt, the second, and so on."""
        found: list[float] = []
        while True:
            pause = self.first[len(found)] if len(found) < len(self.first) else self.then
            if sum(found) + pause > self.until:
                return found
            found.append(pause)

    def next_at(self, attempt: int, now: float) -> float | None:
        """Return when to try again; None to give up.

        Args:
            attempt: Attempts made so far, the one that just failed included.
            now: Seconds since the epoch.
        """
        pauses = self.pauses()
        if attempt > len(pauses):
            return None
        return now + pauses[attempt - 1] * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311
