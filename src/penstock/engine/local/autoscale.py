"""Decides how many replicas a version should have. Pure: it is given measurements and a clock.

`scaler` feeds it. Four rules:

* **Grow** when calls wait although every replica is busy, for half a second, and cores are
  idle (that is not asked where a person named the maximum). The next replica is on trial: it stays
  if more calls are answered with it than without it, and as long as too few come to tell.
* **Shrink** by one when fewer replicas would have done for the whole cooldown, and to the minimum
  when there was no call for the whole cooldown.
* A replica that did not help goes at once and is not tried again for a while, each time longer.
* **Check**: where the cores decide, a replica that was found to help is left out once in a while,
  ever more seldom, and goes for good if that made no difference. A pace is measured in less than a
  second, on a machine with other work to do, so a verdict may be wrong, or be so later.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: Seconds that calls must wait before there is one more replica.
WINDOW_S = 0.5

#: A call that waited so long, in seconds, wants another replica, however short the queue.
WAIT_S = 0.05

#: Core-seconds per second that must be idle for one more replica to make sense.
IDLE_CORES = 0.5

#: Seconds a new replica gets to find its pace, then to show what it is worth; and at the longest.
SETTLE_S = 0.1
JUDGE_S = 0.8
JUDGE_MOST_S = 5.0

#: Answers without which a pace is not known.
ANSWERS = 8

#: The part of a fair share by which the pace must rise: a second replica 15 %, a third 7.5 %.
SHARE = 0.15
SHARE_NAMED = 0.05

#: Seconds until a replica that did not help is tried again; doubles up to the most.
HOLD_S = 10.0
HOLD_MOST_S = 300.0

#: Seconds until a replica that helped is checked; doubles up to `HOLD_MOST_S`.
CHECK_S = 30.0

#: Part of one replica's time below which its work could be done by the others.
SPARE = 0.7


class Range(NamedTuple):
    """What people allow. `by_cores`: the maximum is the machine's, so idle cores decide too."""

    low: int
    high: int
    cooldown_s: float
    by_cores: bool


class Sample(NamedTuple):
    """What is measured at a time.

    Attributes:
        at: Seconds, on any clock that only goes forward.
        ready: Replicas that take calls.
        held: Calls taken and not answered.
        oldest_s: How long the oldest of them has waited.
        finished: Calls answered since the start.
        idle_s: Core-seconds that were idle since the start; None if it was not measured.
    """

    at: float
    ready: int
    held: int
    oldest_s: float
    finished: int
    idle_s: float | None


class _Trial(NamedTuple):
    """The pace before the last replica came or was left out; when the new one begins to count."""

    rate: float
    left_out: bool = False
    since: Sample | None = None


class Autoscaler:
    """One version's number of replicas.

    Attributes:
        wanted: How many replicas there should be.
        why: The reason, for people.
    """

    def __init__(self, allowed: Range, wanted: int, at: float) -> None:
        self._allowed = allowed
        self._samples: deque[Sample] = deque()
        self._trial: _Trial | None = None
        self._hold_s = HOLD_S
        self._not_before = 0.0
        self._check_s, self._check_at = CHECK_S, at + CHECK_S
        self._finished = 0
        self._last_call_at = at
        self._last_needed_at = at
        self.wanted = wanted
        self.why = ""

    def allow(self, allowed: Range, at: float) -> int:
        """Take a new range; return how many replicas there should be."""
        self._allowed = allowed
        self._hold_s, self._not_before = HOLD_S, at
        if self._trial is not None and self._trial.left_out:
            self._set(self.wanted, "the limits changed")
        if not allowed.low <= self.wanted <= allowed.high and (self.wanted or allowed.low):
            self._set(max(allowed.low, min(self.wanted, allowed.high)), "the limits changed")
        return self.wanted

    def wake(self, at: float) -> int:
        """A call came and there is no replica; return how many there should be."""
        self._last_call_at = self._last_needed_at = at
        if not self.wanted:
            self._set(max(1, self._allowed.low), "woken by a call")
        return self.wanted

    def sleep(self) -> None:
        """There is no replica, whatever was wanted."""
        self._set(0, "it could not be woken")

    def wants_idle(self, at: float, ready: int, held: int) -> bool:
        """Whether the next sample should say how idle the machine is."""
        return (
            self._allowed.by_cores
            and ready <= self.wanted < self._allowed.high
            and held > ready
            and at >= self._not_before
        )

    def rest_s(self, at: float) -> float | None:
        """Return in how many seconds to look again when there are no calls; None: not at all."""
        if self.wanted <= self._allowed.low:
            return None
        return max(0.05, self._last_call_at + self._allowed.cooldown_s - at)

    def look(self, sample: Sample) -> int:
        """Take a measurement; return how many replicas there should be."""
        if self._samples and self._samples[-1].ready != sample.ready:
            self._samples.clear()
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - WINDOW_S:
            self._samples.popleft()
        if sample.held or sample.finished != self._finished:
            self._finished = sample.finished
            self._last_call_at = sample.at
        if sample.ready < self.wanted:
            self._last_needed_at = sample.at
        elif self._trial is not None:
            self._judge(self._trial, sample)
        elif self._is_due(sample):
            self._check(sample)
        elif not self._grow(sample):
            self._shrink(sample)
        return self.wanted

    def _set(self, wanted: int, why: str) -> None:
        self.wanted, self.why = wanted, why
        self._trial = None
        self._samples.clear()

    # --- more ---

    def _grow(self, sample: Sample) -> bool:
        first, count = self._samples[0], len(self._samples)
        spent = sample.at - first.at
        if not 0 < self.wanted < self._allowed.high or sample.at < self._not_before:
            return False
        if not self._calls_wait(spent):
            return False
        waiting = sum(s.held - s.ready for s in self._samples) / count
        if waiting < sample.ready and sample.oldest_s < WAIT_S:
            return False
        if self._allowed.by_cores and not self._cores_are_idle(first, sample):
            return False
        answers = sample.finished - first.finished
        self._set(self.wanted + 1, f"replica {self.wanted + 1} is on trial: calls wait")
        self._last_needed_at = sample.at
        if answers >= ANSWERS:
            self._trial = _Trial(answers / spent)
        else:
            self.why = f"replica {self.wanted} was added: calls wait and are slow"
        return True

    def _calls_wait(self, spent: float) -> bool:
        """Whether calls waited at every look of a whole window."""
        return spent >= WINDOW_S * 0.9 and all(s.held > s.ready for s in self._samples)

    @staticmethod
    def _cores_are_idle(first: Sample, last: Sample) -> bool:
        if first.idle_s is None or last.idle_s is None:
            return False
        return (last.idle_s - first.idle_s) / (last.at - first.at) >= IDLE_CORES

    def _is_due(self, sample: Sample) -> bool:
        """Whether the last replica is there because cores were idle, and is to be checked."""
        more = self.wanted > max(1, self._allowed.low)
        return self._allowed.by_cores and more and sample.at >= self._check_at

    def _check(self, sample: Sample) -> None:
        """Leave the last replica out for a moment, once calls wait for a whole window."""
        first = self._samples[0]
        spent = sample.at - first.at
        answers = sample.finished - first.finished
        if self._calls_wait(spent) and answers >= ANSWERS:
            self._set(self.wanted - 1, f"replica {self.wanted} is left out, to see if it helps")
            self._trial = _Trial(answers / spent, left_out=True)
        elif not self._grow(sample):  # too few answers to check by, and maybe too slow ones
            self._shrink(sample)

    def _judge(self, trial: _Trial, sample: Sample) -> None:
        # A mean, because one look may fall between two rounds, when no call is in hand.
        if sum(s.held - s.ready for s in self._samples) < 0:
            self._judge_few(trial, sample)
            return
        if trial.since is None or sample.ready != trial.since.ready:
            if sample.at - self._samples[0].at >= SETTLE_S:
                self._trial = trial._replace(since=sample)
            return
        spent = sample.at - trial.since.at
        answers = sample.finished - trial.since.finished
        if spent >= JUDGE_S and (answers >= ANSWERS or spent >= JUDGE_MOST_S):
            pace = max(answers, 1) / spent
            number = self.wanted + trial.left_out
            gain = trial.rate / pace if trial.left_out else pace / trial.rate
            self._verdict(number, gain, sample.at, checked=trial.left_out)

    def _judge_few(self, trial: _Trial, sample: Sample) -> None:
        """Go on without a verdict: too few calls come to see a difference."""
        if trial.left_out:
            self._set(self.wanted, f"{self.wanted} do: fewer calls come")
            return
        self.why = f"replica {self.wanted} stays: fewer calls came to judge it by"
        if self._allowed.by_cores:  # the next load may be another: begin anew with that one
            self._trial, self._check_at = None, sample.at
        else:
            self._trial = trial._replace(since=None)
        self._shrink(sample)

    def _verdict(self, number: int, gain: float, at: float, *, checked: bool) -> None:
        share = SHARE if self._allowed.by_cores else SHARE_NAMED
        if gain >= 1 + share / (number - 1):
            self._hold_s = HOLD_S
            self._set(number, f"replica {number} helps: {gain:.2g}×")
            self._check_s = min(HOLD_MOST_S, 2 * self._check_s) if checked else CHECK_S
            self._check_at = at + self._check_s
            return
        self._set(number - 1, f"replica {number} was dropped: no gain ({gain:.2f}×)")
        self._not_before = at + self._hold_s
        self._hold_s = min(HOLD_MOST_S, 2 * self._hold_s)
        self._check_at = at + self._check_s

    # --- fewer ---

    def _shrink(self, sample: Sample) -> None:
        allowed = self._allowed
        busy = sum(min(s.held, s.ready) for s in self._samples) / len(self._samples)
        if busy > self.wanted - 1 - (1 - SPARE) or sample.at < self._last_needed_at:
            self._last_needed_at = sample.at
        if self.wanted <= allowed.low:
            return
        if sample.at - self._last_call_at >= allowed.cooldown_s:
            why = f"no call for {allowed.cooldown_s:g} s"
            self._set(allowed.low, why if allowed.low else f"asleep: {why}")
        elif self.wanted > 1 and sample.at - self._last_needed_at >= allowed.cooldown_s:
            self._set(self.wanted - 1, f"{self.wanted - 1} did for {allowed.cooldown_s:g} s")
            self._last_needed_at = sample.at
