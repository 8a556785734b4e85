"""Measures a pool and changes how many replicas it has, as `autoscale` decides.

Ten times a second while calls are in hand; without calls once, when the cooldown is over. A pool
whose number is fixed, or that is at its minimum and idle, costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from penstock.engine.base import Scale
from penstock.engine.local.autoscale import Autoscaler, Range
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.samples import Sample

_log = logging.getLogger(__name__)

#: Seconds between two measurements while there are calls.
_TICK_S = 0.1

_STAT = Path("/proc/stat")


def core_count() -> int:
    """Return how many cores this process may use, whole ones, by affinity and cgroup."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def idle_core_seconds() -> float | None:
    """Return how long the machine's cores were idle since it started, added up; None if unknown."""
    try:
        with _STAT.open("rb") as file:
            fields = file.readline().split()
    except OSError:
        return None
    # cpu user nice system idle iowait …, in clock ticks
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def range_of(scale: Scale, most: int) -> Range:
    """Return the numbers of `scale`; `most` is the most replicas where it names no maximum."""
    by_cores = scale.high is None
    high = max(1, scale.low, most if scale.high is None else scale.high)
    return Range(scale.low, high, scale.cooldown_s, by_cores)


class Scaler:
    """One pool's number of replicas.

    Args:
        loop: The server's loop.
        dispatcher: What is measured.
        scale: What people allow.
        most: Most replicas where `scale` names no maximum.
        wanted: Replicas to begin with; 0 for a pool that sleeps.
        apply: Called with the new number when it changes.
        is_coming: Whether a replica that is wanted is on its way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatcher: Dispatcher,
        scale: Scale,
        most: int,
        wanted: int,
        apply: Callable[[int], None],
        is_coming: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._dispatcher = dispatcher
        self._most = most
        self._range = range_of(scale, most)
        self._apply = apply
        self._is_coming = is_coming
        self._auto = Autoscaler(self._range, wanted, time.monotonic())
        self._timer: asyncio.TimerHandle | None = None
        self._measuring = False
        self._failing = False
        self._finished = 0
        self._stopped = False
        dispatcher.on_busy(self._busy)

    @property
    def wanted(self) -> int:
        """How many replicas there should be."""
        return self._auto.wanted

    @property
    def why(self) -> str:
        """The reason for the number, for people; empty when nothing was decided yet."""
        return self._auto.why

    @property
    def range(self) -> Range:
        """What people allow."""
        return self._range

    def allow(self, scale: Scale) -> None:
        """Take new limits."""
        self._range = range_of(scale, self._most)
        before = self.wanted
        self._change(before, self._auto.allow(self._range))
        self._rest()

    def started(self) -> None:
        """Count the time without calls from now: the replicas are ready."""
        self._auto.wake(time.monotonic())
        self._rest()

    def sleep(self) -> None:
        """Note that a pool that was to wake could not; the next call wakes it again."""
        self._auto.sleep()

    def stop(self) -> None:
        """Change nothing any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _busy(self) -> None:
        """Calls came after a time without any."""
        if self._stopped:
            return
        if not self.wanted:
            self._change(0, self._auto.wake(time.monotonic()))
        if not self._measuring and self._range.low != self._range.high:
            self._measuring = True
            self._later(_TICK_S)

    def _later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _rest(self) -> None:
        """Without calls: look again when the cooldown is over, if that can change anything."""
        if self._measuring or self._stopped:
            return
        seconds = self._auto.rest_s(time.monotonic())
        if seconds is not None:
            self._later(seconds)

    def _look(self) -> None:
        self._timer = None
        dispatcher = self._dispatcher
        before, now = self.wanted, time.monotonic()
        ready = len(dispatcher.ready)
        # A replica that works on several calls at once is busy when it has them all.
        held = -(-dispatcher.held // dispatcher.concurrency)
        oldest = dispatcher.oldest_ns() if held else 0
        sample = Sample(
            at=now,
            ready=ready,
            held=held,
            oldest_s=now - oldest / 1e9 if oldest else 0.0,
            finished=dispatcher.finished,
            idle_s=idle_core_seconds() if self._auto.wants_idle(ready, held) else None,
            coming=ready < before and self._is_coming(),
        )
        try:
            self._change(before, self._auto.look(sample))
            self._failing = False
        except Exception:  # noqa: BLE001 - one odd measurement must not be the last one
            if not self._failing:  # ten measurements a second would fill the log
                _log.exception("The number of replicas could not be decided.")
            self._failing = True
        self._measuring = bool(held) or dispatcher.finished != self._finished
        self._finished = dispatcher.finished
        if self._measuring:
            self._later(_TICK_S)
        else:
            self._rest()

    def _change(self, before: int, after: int) -> None:
        if after != before:
            self._apply(after)
