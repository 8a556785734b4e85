"""What was measured of a version in the last half second. Kept by `autoscale`.

All times are seconds on a clock that only goes forward.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: Seconds that calls must wait before there is one more replica.
WINDOW_S = 0.5


class Sample(NamedTuple):
    """What is measured at a time.

    Attributes:
        at: When.
        ready: Replicas that take calls.
        held: Calls taken and not answered.
        oldest_s: How long the oldest of them has waited.
        finished: Calls answered since the start.
        idle_s: Core-seconds that were idle since the start; None if it was not measured.
        coming: Whether a replica that is missing is on its way, and has not failed.
    """

    at: float
    ready: int
    held: int
    oldest_s: float
    finished: int
    idle_s: float | None
    coming: bool = False


class Window:
    """The latest samples, all with the same number of replicas."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """Take a sample; forget those that are too old, or were of other replicas."""
        samples = self._samples
        if samples and samples[-1].ready != sample.ready:
            samples.clear()
        samples.append(sample)
        while len(samples) > 2 and samples[1].at <= sample.at - WINDOW_S:
            samples.popleft()

    def clear(self) -> None:
        """Begin anew."""
        self._samples.clear()

    @property
    def spent_s(self) -> float:
        """From the first sample to the last."""
        return self._samples[-1].at - self._samples[0].at

    @property
    def answers(self) -> int:
        """Calls answered from the first sample to the last."""
        return self._samples[-1].finished - self._samples[0].finished

    @property
    def held(self) -> float:
        """Calls in hand, on average."""
        return sum(sample.held for sample in self._samples) / len(self._samples)

    @property
    def busy(self) -> float:
        """Replicas with a call, on average."""
        return sum(min(s.held, s.ready) for s in self._samples) / len(self._samples)

    def calls_wait(self) -> bool:
        """Whether calls waited at every look, for the whole time."""
        return self.spent_s >= WINDOW_S * 0.9 and all(s.held > s.ready for s in self._samples)

    def is_slack(self) -> bool:
        """Whether there are fewer calls than replicas.

        On average, because one look may fall between two rounds, when no call is in hand.
        """
        return self.held < self._samples[-1].ready

    def pauses(self) -> bool:
        """Whether there was nothing to do from the last look but one to the last."""
        if len(self._samples) < 2:
            return False
        before, last = self._samples[-2], self._samples[-1]
        return not last.held and last.finished == before.finished

    def idle_cores(self) -> float:
        """Cores that were idle, on average; 0 if that was not measured."""
        first, last = self._samples[0], self._samples[-1]
        if first.idle_s is None or last.idle_s is None:
            return 0.0
        return (last.idle_s - first.idle_s) / (last.at - first.at)
