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

Both whiles are for loads like the one that was judged (`verdicts`); another one is judged at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from penstock.engine.local.verdicts import Load, Question, Verdicts

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

#: The halves of a window differ by less than this factor, else the load is just changing.
STEADY = 1.5

#: The part of a fair share by which the pace must rise: a second replica 15 %, a third 7.5 %.
SHARE = 0.15
SHARE_NAMED = 0.05

#: Seconds until a replica that did not help is tried again, and until one that helped is checked;
#: each time twice as long.
HOLD_S = 10.0
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
    """The pace and load before the last replica came or was left out; when the new one counts."""

    rate: float
    load: Load
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
        self._verdicts = Verdicts()
        self._finished = 0
        self._last_call_at = at
        self._last_needed_at = at
        self.wanted = wanted
        self.why = ""

    def allow(self, allowed: Range) -> int:
        """Take a new range; return how many replicas there should be."""
        self._allowed = allowed
        self._verdicts.forget()
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

    def wants_idle(self, ready: int, held: int) -> bool:
        """Whether the next sample should say how idle the machine is."""
        return self._allowed.by_cores and ready <= self.wanted < self._allowed.high and held > ready

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
        elif not self._check(sample) and not self._grow(sample):
            self._shrink(sample)
        return self.wanted

    def _set(self, wanted: int, why: str) -> None:
        self.wanted, self.why = wanted, why
        self._trial = None
        self._samples.clear()

    # --- more ---

    def _grow(self, sample: Sample) -> bool:
        first = self._samples[0]
        if not 0 < self.wanted < self._allowed.high or not self._calls_wait(sample):
            return False
        waiting = _mean_held(self._samples) - sample.ready
        if waiting < sample.ready and sample.oldest_s < WAIT_S:
            return False
        if self._allowed.by_cores and not self._cores_are_idle(first, sample):
            return False
        before = self._before(sample)
        if before is not None and not self._is_open(self.wanted + 1, before, sample):
            return False
        self._set(self.wanted + 1, f"replica {self.wanted + 1} is on trial: calls wait")
        self._last_needed_at = sample.at
        self._trial = before
        if before is None:
            self.why = f"replica {self.wanted} was added: calls wait and are slow"
        return True

    def _calls_wait(self, sample: Sample) -> bool:
        """Whether calls waited at every look of a whole window."""
        spent = sample.at - self._samples[0].at
        return spent >= WINDOW_S * 0.9 and all(s.held > s.ready for s in self._samples)

    def _before(self, sample: Sample) -> _Trial | None:
        """Return what a trial is measured by: the window's pace; None if that is not known."""
        first = self._samples[0]
        answers = sample.finished - first.finished
        if answers < ANSWERS:
            return None
        rate = answers / (sample.at - first.at)
        return _Trial(rate, Load(_mean_held(self._samples), rate))

    def _is_open(self, replica: int, before: _Trial, sample: Sample) -> bool:
        """Whether a trial under the present load, if it is steady, would say something new."""
        question = Question(replica, replica <= self.wanted)
        known = self._verdicts.stands(question, before.load, sample.at)
        return not known and self._is_steady(sample)

    def _is_steady(self, last: Sample) -> bool:
        samples = list(self._samples)
        middle = len(samples) // 2
        turn = samples[middle]
        paces = (_pace(samples[0], turn), _pace(turn, last))
        held = (_mean_held(samples[: middle + 1]), _mean_held(samples[middle + 1 :]))
        return all(max(pair) < STEADY * min(pair) for pair in (paces, held))

    @staticmethod
    def _cores_are_idle(first: Sample, last: Sample) -> bool:
        if first.idle_s is None or last.idle_s is None:
            return False
        return (last.idle_s - first.idle_s) / (last.at - first.at) >= IDLE_CORES

    def _check(self, sample: Sample) -> bool:
        """Leave the last replica out for a moment if the cores brought it and that is due."""
        more = self.wanted > max(1, self._allowed.low)
        if not self._allowed.by_cores or not more or not self._calls_wait(sample):
            return False
        before = self._before(sample)
        if before is None or not self._is_open(self.wanted, before, sample):
            return False
        self._set(self.wanted - 1, f"replica {self.wanted} is left out, to see if it helps")
        self._trial = before._replace(left_out=True)
        return True

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
            gain = trial.rate / pace if trial.left_out else pace / trial.rate
            self._verdict(trial, Load(_mean_held(self._samples), pace), gain, sample.at)

    def _judge_few(self, trial: _Trial, sample: Sample) -> None:
        """Go on without a verdict: too few calls come to see a difference."""
        if trial.left_out:
            self._set(self.wanted, f"{self.wanted} do: fewer calls come")
            return
        self.why = f"replica {self.wanted} stays: fewer calls came to judge it by"
        # Where the cores decide, the next load may be another: it is checked under that one.
        self._trial = None if self._allowed.by_cores else trial._replace(since=None)
        self._shrink(sample)

    def _verdict(self, trial: _Trial, after: Load, gain: float, at: float) -> None:
        """Keep the replica in question or not. `after` is the load with or without it, as now."""
        number = self.wanted + trial.left_out
        share = SHARE if self._allowed.by_cores else SHARE_NAMED
        helps = gain >= 1 + share / (number - 1)
        question, load = Question(number, helps), after if helps != trial.left_out else trial.load
        if helps:
            self._set(number, f"replica {number} helps: {gain:.2g}×")
            self._verdicts.note(question, load, at, CHECK_S, again=trial.left_out)
        else:
            self._set(number - 1, f"replica {number} was dropped: no gain ({gain:.2f}×)")
            self._verdicts.note(question, load, at, HOLD_S, again=True)

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


def _mean_held(samples: Collection[Sample]) -> float:
    return sum(sample.held for sample in samples) / len(samples)


def _pace(first: Sample, last: Sample) -> float:
    """Return answers a second; one more than there were, so that a few are not none."""
    return (last.finished - first.finished + 1) / (last.at - first.at)
