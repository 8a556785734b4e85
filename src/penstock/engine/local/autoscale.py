"""Decides how many replicas a version should have. Pure: it is given measurements and a clock.

`scaler` feeds it. Four rules:

* **Grow** when calls wait although every replica is busy, for half a second, and cores are
  idle (that is not asked where a person named the maximum). The next replica is on trial: it stays
  if more calls are answered with it than without it, and as long as too few come to tell.
* **Shrink** by one when fewer replicas would have done for the whole cooldown, and to the minimum
  when there was no call for the whole cooldown.
  Replicas that are missing because they fail do not change that; one that is on its way is waited
  for.
* A replica that did not help goes at once and is not tried again for a while, each time longer.
* **Check**: where the cores decide, a replica that was found to help is left out once in a while,
  ever more seldom, and goes for good if that made no difference. A pace is measured in less than a
  second, on a machine with other work to do, so a verdict may be wrong, or be so later.

Both whiles are for loads like the one that was judged (`verdicts`); another is judged soon.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.engine.local.samples import Sample, Window
from penstock.engine.local.verdicts import Load, Verdicts

#: A call that waited so long, in seconds, wants another replica, however short the queue.
WAIT_S = 0.05

#: Core-seconds per second that must be idle for one more replica to make sense: on two cores, what
#: is not idle cannot bring the 15 % that it must bring.
IDLE_CORES = 0.3

#: Seconds a new replica gets to find its pace, then to show what it is worth; and at the longest.
SETTLE_S = 0.1
JUDGE_S = 0.8
JUDGE_MOST_S = 5.0

#: Seconds after which a trial ends without a verdict, because its load never lasts.
TRIAL_MOST_S = 10.0

#: Answers without which a pace is not known.
ANSWERS = 8

#: Answers that tell a pace well enough to call a load another one.
SURE_ANSWERS = 64

#: The part of a fair share by which the pace must rise: a second replica 15 %, a third 7.5 %.
SHARE = 0.15
SHARE_NAMED = 0.05

#: Seconds until a replica that did not help is tried again, and until one that helped is checked;
#: each time twice as long. Under another load it is sooner.
HOLD_S, HOLD_EARLY_S = 10.0, 1.0
CHECK_S, CHECK_EARLY_S = 30.0, 5.0

#: Seconds until the next look at an idle version that could not rest when its cooldown was over.
AGAIN_S = 1.0

#: Part of one replica's time below which its work could be done by the others.
SPARE = 0.7


class Range(NamedTuple):
    """What people allow. `by_cores`: the maximum is the machine's, so idle cores decide too."""

    low: int
    high: int
    cooldown_s: float
    by_cores: bool


class _Trial(NamedTuple):
    """A comparison that is under way.

    Attributes:
        load: Calls in hand and answered a second, before the last replica came or was left out.
        left_out: Whether it was.
        since: When the time after began to count; None: not yet.
        began: When it began, in seconds.
    """

    load: Load
    began: float
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
        self._window = Window()
        self._trial: _Trial | None = None
        self._dropped = Verdicts(HOLD_S, HOLD_EARLY_S)
        self._kept = Verdicts(CHECK_S, CHECK_EARLY_S)
        self._finished = 0
        self._last_call_at = at
        self._last_needed_at = at
        self._was_coming = False
        self.wanted = wanted
        self.why = ""

    def allow(self, allowed: Range) -> int:
        """Take a new range; return how many replicas there should be."""
        self._allowed = allowed
        self._dropped.forget()
        self._kept.forget()
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
        cooldown_s = self._allowed.cooldown_s
        if self.wanted <= self._allowed.low:
            return None
        return max(0.05, min(AGAIN_S, cooldown_s), self._last_call_at + cooldown_s - at)

    def look(self, sample: Sample) -> int:
        """Take a measurement; return how many replicas there should be."""
        self._window.add(sample)
        if sample.held or sample.finished != self._finished:
            self._finished = sample.finished
            self._last_call_at = sample.at
        if self._comes(sample):
            self._last_needed_at = self._last_call_at = sample.at
        elif sample.ready < self.wanted:
            self._last_needed_at = sample.at
            self._rest(sample)
        elif self._trial is not None:
            self._judge(self._trial, sample)
        elif not self._check(sample) and not self._grow(sample):
            self._shrink(sample)
        return self.wanted

    def _comes(self, sample: Sample) -> bool:
        """Whether a replica is on its way or has come: time without calls begins only then."""
        was_coming, self._was_coming = self._was_coming, sample.coming
        return sample.coming or (was_coming and sample.ready >= self.wanted)

    def _set(self, wanted: int, why: str) -> None:
        self.wanted, self.why = wanted, why
        self._trial = None
        self._window.clear()

    # --- more ---

    def _grow(self, sample: Sample) -> bool:
        window = self._window
        if not 0 < self.wanted < self._allowed.high or not window.calls_wait():
            return False
        if window.held - sample.ready < sample.ready and sample.oldest_s < WAIT_S:
            return False
        if self._allowed.by_cores and window.idle_cores() < IDLE_CORES:
            return False
        load, answers = self._load(), window.answers
        if self._dropped.stands(load, sample.at, sure=answers >= SURE_ANSWERS):
            return False
        self._set(self.wanted + 1, f"replica {self.wanted + 1} is on trial: calls wait")
        self._last_needed_at = sample.at
        if answers < ANSWERS:
            self.why = f"replica {self.wanted} was added: calls wait and are slow"
            self._kept.note(load, sample.at, again=True)
        else:
            self._trial = _Trial(load, sample.at)
        return True

    def _load(self) -> Load:
        window = self._window
        return Load(window.held, max(window.answers, 1) / window.spent_s)

    def _check(self, sample: Sample) -> bool:
        """Leave the last replica out for a moment if the cores brought it and that is due."""
        window = self._window
        more = self.wanted > max(1, self._allowed.low)
        if not self._allowed.by_cores or not more or not window.calls_wait():
            return False
        load, answers = self._load(), window.answers
        if answers < ANSWERS or self._kept.stands(load, sample.at, sure=answers >= SURE_ANSWERS):
            return False
        self._set(self.wanted - 1, f"replica {self.wanted} is left out, to see if it helps")
        self._trial = _Trial(load, sample.at, left_out=True)
        return True

    def _judge(self, trial: _Trial, sample: Sample) -> None:
        window = self._window
        if window.is_slack() or sample.at - trial.began > TRIAL_MOST_S:
            self._give_up(trial, sample)
        elif window.pauses():
            self._trial = trial._replace(since=None)
        elif trial.since is None or sample.ready != trial.since.ready:
            if window.spent_s >= SETTLE_S:
                self._trial = trial._replace(since=sample)
        else:
            self._compare(trial, trial.since, sample)

    def _compare(self, trial: _Trial, since: Sample, sample: Sample) -> None:
        spent, answers = sample.at - since.at, sample.finished - since.finished
        if spent >= JUDGE_S and (answers >= ANSWERS or spent >= JUDGE_MOST_S):
            after = Load(self._window.held, max(answers, 1) / spent)
            self._verdict(trial, after, sample.at)

    def _give_up(self, trial: _Trial, sample: Sample) -> None:
        """Go on without a verdict: too few calls come to see a difference."""
        self._kept.put_off(trial.load, sample.at)
        if not trial.left_out:
            self._set(self.wanted, f"replica {self.wanted} stays: fewer calls came to judge it by")
        elif self._window.is_slack():
            self._set(self.wanted, f"{self.wanted} do: fewer calls come")
        else:
            self._set(self.wanted + 1, f"replica {self.wanted + 1} stays: calls come unevenly")

    def _verdict(self, trial: _Trial, after: Load, at: float) -> None:
        """Keep the replica in question or not. `after` is the load with or without it, as now."""
        number = self.wanted + trial.left_out
        fewer, more = (after, trial.load) if trial.left_out else (trial.load, after)
        gain = more.pace / fewer.pace
        share = SHARE if self._allowed.by_cores else SHARE_NAMED
        if gain >= 1 + share / (number - 1):
            self._set(number, f"replica {number} helps: {gain:.2g}×")
            self._kept.note(more, at, again=trial.left_out)
            self._dropped.forget()
        else:
            self._set(number - 1, f"replica {number} was dropped: no gain ({gain:.2f}×)")
            self._dropped.note(fewer, at, again=True)

    # --- fewer ---

    def _shrink(self, sample: Sample) -> None:
        if self._window.busy > self.wanted - 1 - (1 - SPARE) or sample.at < self._last_needed_at:
            self._last_needed_at = sample.at
        low, cooldown_s = self._allowed.low, self._allowed.cooldown_s
        if self.wanted <= low or self._rest(sample):
            return
        if self.wanted > 1 and sample.at - self._last_needed_at >= cooldown_s:
            self._let_go(self.wanted - 1, f"{self.wanted - 1} did for {cooldown_s:g} s")
            self._last_needed_at = sample.at

    def _rest(self, sample: Sample) -> bool:
        """Go to the minimum if there was no call for the whole cooldown."""
        low, cooldown_s = self._allowed.low, self._allowed.cooldown_s
        if self.wanted <= low or sample.at - self._last_call_at < cooldown_s:
            return False
        why = f"no call for {cooldown_s:g} s"
        self._let_go(low, why if low else f"asleep: {why}")
        return True

    def _let_go(self, wanted: int, why: str) -> None:
        self._set(wanted, why)
        self._dropped.forget()  # it was about one more than there were
