"""The calls of one version: the queue, which replica gets what, and the time limits.

Calls are handed to a worker ahead of its work, so that it always finds the next batch in its
socket, but only so many: the rest wait here, where a crash cannot hurt them. Nothing here is done
per call that could be done per tick.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from penstock.core.errors import PenstockError
from penstock.core.run_records import ReplicaId
from penstock.engine.base import Answer, Call, VersionSpec
from penstock.engine.local import failures
from penstock.engine.local.begun import Place
from penstock.engine.local.fair_queue import FairQueue
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.replica import Replica
from penstock.engine.local.window import bytes_ahead, calls_ahead

_log = logging.getLogger(__name__)

_NEVER = 1 << 62

QUEUED = "queued"
DONE = "done"


class Dispatcher:
    """Takes calls, hands them to replicas, answers those that no replica can.

    Attributes:
        concurrency: Calls that one replica works on at once.
        held: Calls taken and not answered.
        idle: Set while `held` is 0.
        finished: Calls that came to their end here, answered or not.
        ready: Replicas that take calls.
        on_worn: Called with a replica that asks to be replaced.
        leaving: Replicas that take no more and still have some; set when they have none.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: EngineOptions, spec: VersionSpec
    ) -> None:
        self._loop = loop
        self._spec = spec
        self._tick_s = options.tick_s
        self._grace_ns = int(options.overdue_grace_s * 1e9)
        self._ahead = calls_ahead(spec)
        self._ahead_bytes = bytes_ahead(spec)
        self._queue = FairQueue()
        self._next_deadline = _NEVER
        self._ticking = False
        self._finished_before = 0
        self._rate = 0.0
        self._refused = 0
        self._full = False
        self._refusal: Callable[[], PenstockError] | None = None
        self._stopping = False
        self._on_busy: Callable[[], None] = _nothing
        self.on_worn: Callable[[Replica], object] = _nothing
        self.concurrency = spec.concurrency
        self.held = 0
        self.finished = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.ready: list[Replica] = []
        self.leaving: dict[Replica, asyncio.Event] = {}

    def on_busy(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when calls come after a time without any."""
        self._on_busy = tell

    # --- calls in ---

    def submit(self, call: Call) -> None:
        """Take a call; see `engine.base.Pool.submit`."""
        if (
            self._refusal is not None
            or self.held >= self._spec.max_queue
            or (self._full and self._queue.is_late(call.caller, time.monotonic_ns()))
        ):
            self._refuse(call)
            return
        self.held += 1
        if call.deadline_ns < self._next_deadline:  # noqa: PLR1730 - min() costs a call per call
            self._next_deadline = call.deadline_ns
        if not self._ticking:
            self._start_ticking()
        replica = None if self._queue else self._roomiest()
        if replica is not None:
            self._hand(replica, call)
        else:
            call.state = QUEUED
            self._queue.append(call)
            if not self.ready:
                self._on_busy()

    def cancel(self, call: Call) -> None:
        """Forget a call; see `engine.base.Pool.cancel`."""
        state = call.state
        if state is DONE or state is None:
            return
        if state is QUEUED:
            self._queue.remove(call)
        self._settle(call)
        if isinstance(state, Replica):
            state.forget(call)

    def _refuse(self, call: Call) -> None:
        if self._refusal is not None:
            error = self._refusal()
        else:
            error = failures.queue_full(self._spec.key, self.held, self._retry_after_s())
        self._refused += 1
        self.held += 1
        self._fail(call, error)

    def _retry_after_s(self) -> float:
        """Return how long the queue takes at the present pace, 1 s to 60 s."""
        return float(min(60, max(1, round(self.held / self._rate)))) if self._rate else 1.0

    def _roomiest(self) -> Replica | None:
        """Return the replica with the least work, of those that have room.

        What a call is worth in rows is not known here: its body is opaque. But the calls of one
        flow are alike, so rows are counted in bytes.
        """
        best, least = None, _NEVER
        for replica in self.ready:
            if (
                replica.weight < least
                and len(replica.outstanding) < self._ahead
                and replica.inline_bytes < self._ahead_bytes
                and not replica.suspect
            ):
                best, least = replica, replica.weight
        return best

    def _pump(self) -> None:
        """Hand over what waits, each caller in turn, as far as there is room."""
        queue = self._queue
        while queue:
            if queue.peek().state is DONE:
                queue.take()
                continue
            replica = self._roomiest()
            if replica is None:
                return
            self._hand(replica, queue.take())

    def _hand(self, replica: Replica, call: Call) -> None:
        try:
            replica.hand(call)
        except OSError as error:  # no descriptor is left for a large body
            self._fail(call, failures.not_handed(self._spec.key, call, error))

    # --- calls out ---

    def answered(self, call: Call, answer: Answer) -> None:
        """Give a call its answer, once."""
        self._settle(call)
        try:
            call.on_done(call, answer)
        except Exception:  # noqa: BLE001 - one caller's defect must not stop the others' answers
            _log.exception("The answer of run %s could not be handed over.", call.run_id)

    def expired(self, call: Call) -> None:
        """A worker did not begin a call because its time was over."""
        self._fail(call, failures.overdue(self._spec.key, call, None))

    def _settle(self, call: Call) -> None:
        call.state = DONE
        self.held -= 1
        self.finished += 1
        if call.body.fd >= 0:
            os.close(call.body.fd)
            call.body.fd = -1

    def _fail(self, call: Call, error: PenstockError, replica: ReplicaId | None = None) -> None:
        self.answered(call, Answer(code=error.code, error=error, replica=replica))

    # --- replicas ---

    def add(self, replica: Replica) -> None:
        """Have a replica that is ready take calls."""
        self.ready.append(replica)
        self._pump()

    def withdraw(self, replica: Replica) -> asyncio.Event:
        """Give a replica no more calls; the event is set once it has none left."""
        if replica in self.ready:
            self.ready.remove(replica)
        event = self.leaving.setdefault(replica, asyncio.Event())
        self._let_go()
        return event

    def _let_go(self) -> None:
        """Tell who waits for replicas that have answered their last call."""
        for replica in [r for r in self.leaving if not r.outstanding]:
            self.leaving.pop(replica).set()

    def worn(self, replica: Replica) -> None:
        """A replica asks to be replaced."""
        self.on_worn(replica)

    def has_room(self) -> None:
        """Replies came: hand over more."""
        if self._queue:
            self._pump()
        if self.leaving:
            self._let_go()

    def lost(self, replica: Replica, place: Place) -> None:
        """A replica died: what was inside it fails, the rest goes to another one."""
        if replica in self.ready:
            self.ready.remove(replica)
        event = self.leaving.pop(replica, None)
        if event is not None:
            event.set()
        back = []
        for call_id, call in replica.outstanding.items():
            if call.state is not replica:
                continue
            if call_id > place.last_begun:
                back.append(call)
                continue
            where = place.of(call_id)
            why = failures.worker_died(
                self._spec.key, call, replica.exit, replica.killed_because, where
            )
            self._fail(call, why, replica.id)
        for call in back:
            call.state = QUEUED
        self._queue.put_back(back)
        self._pump()

    def refuse(self, why: Callable[[], PenstockError] | None) -> None:
        """Take no more calls and fail those that wait, or (None) take calls again."""
        if self._stopping:
            return
        self._refusal = why
        if why is not None:
            self.fail_queued(why)

    def stop_taking(self, why: Callable[[], PenstockError]) -> None:
        """Take no more calls, for good; go on with those taken."""
        self._stopping = True
        self._refusal = why

    def fail_queued(self, why: Callable[[], PenstockError]) -> None:
        """Fail the calls that wait for a replica."""
        for call in self._queue.clear():
            if call.state is not DONE:
                self._fail(call, why())

    def release(self) -> list[Call]:
        """Forget the calls that wait for a replica, and return them, oldest first."""
        released = [call for call in self._queue.clear() if call.state is not DONE]
        for call in released:
            call.state = None
        self.held -= len(released)
        return released

    # --- time ---

    def _start_ticking(self) -> None:
        self._ticking = True
        self._on_busy()
        self.idle.clear()
        self._loop.call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        served = self.finished - self._refused
        finished = served - self._finished_before
        self._finished_before = served
        self._rate += 0.2 * (finished / self._tick_s - self._rate)
        now = time.monotonic_ns()
        if now >= self._next_deadline:
            self._look_at_deadlines(now)
        self._full = bool(self.ready) and self._queue.is_long(now)
        if self.held or any(replica.outstanding for replica in self._all()):
            self._loop.call_later(self._tick_s, self._tick)
        else:
            self._ticking = False
            self._next_deadline = _NEVER
            self.idle.set()

    def _all(self) -> list[Replica]:
        return [*self.ready, *self.leaving]

    def oldest_ns(self) -> int:
        """Return when the oldest call that is not answered came, 0 if there is none."""
        heads = [next(iter(r.outstanding.values())) for r in self._all() if r.outstanding]
        came = [call.arrived_ns for call in heads]
        if self._queue:
            came.append(self._queue.oldest_ns())
        return min(came, default=0)

    def _look_at_deadlines(self, now: int) -> None:
        following = _NEVER
        for call in tuple(self._queue):  # who is told may call again
            if call.state is DONE:
                continue
            if call.deadline_ns <= now:
                self._queue.remove(call)
                self._fail(call, failures.overdue(self._spec.key, call, None))
            else:
                following = min(following, call.deadline_ns)
        for replica in self._all():
            following = min(following, self._look_at_replica(replica, now))
        self._next_deadline = following

    def _look_at_replica(self, replica: Replica, now: int) -> int:
        """Answer the overdue calls of a replica; kill it if it stays inside one.

        Returns:
            When to look again, in monotonic nanoseconds.
        """
        following = _NEVER
        place: Place | None = None
        for call_id, call in tuple(replica.outstanding.items()):
            if call.deadline_ns > now:
                following = min(following, call.deadline_ns)
                continue
            place = place or replica.place()
            inside = call_id <= place.last_begun
            if call.state is replica:
                where = place.of(call_id) if inside else None
                error = failures.overdue(self._spec.key, call, where)
                self._fail(call, error, replica.id if inside else None)
            if inside:
                replica.forget(call)  # one that holds several calls may let go of this one
            replica.suspect = replica.suspect or inside
            if inside and now > call.deadline_ns + self._grace_ns:
                replica.kill(f"run {call.run_id} did not finish within its time limit")
            following = now
        return following


def _nothing(*_: object) -> None:
    """Nobody wants to know."""
