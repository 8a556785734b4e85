"""The calls of one version that wait for a replica, so that no caller makes the others wait.

Callers take turns by the work they were given, not by who came first: a caller with a thousand
calls in the queue delays another one's single call by one call, not by a thousand. Work is counted
in bytes of body, as everywhere in the engine; a caller's own calls keep their order. This is
start-time fair queueing (Goyal, Vin and Cheng, 1996) with equal shares. Used by `dispatcher`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush

from penstock.engine.base import Call
from penstock.engine.local.window import weight_of

#: A queue longer than this takes no more of a caller whose oldest call has waited this long: what
#: it sends later would wait longer still, and take as long to answer when the rush is over.
_SHORT_QUEUE = 64
_LONG_WAIT_NS = 1_000_000_000


class FairQueue:
    """Calls that wait, by caller. A caller is the key that it calls with."""

    def __init__(self) -> None:
        # In order; a caller whose calls were all given up stands there without any.
        self._calls: dict[str, OrderedDict[Call, None]] = {}
        # Whoever waits stands here once: work given before the next call, a number, who.
        self._turns: list[tuple[float, int, str]] = []
        self._given: dict[str, float] = {}  # work given to whom, since calls began to wait
        self._now = 0.0  # the least work that somebody who waits was given
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Call]:
        for calls in self._calls.values():
            yield from calls

    def append(self, call: Call) -> None:
        """Put a call behind those of its caller."""
        calls = self._calls.get(call.caller)
        if calls is None:
            self._calls[call.caller] = OrderedDict({call: None})
            self._stand(call.caller)
        else:
            calls[call] = None
        self._count += 1

    def put_back(self, calls: list[Call]) -> None:
        """Put calls that were taken before in front of those of their callers, in their order."""
        for call in reversed(calls):
            waiting = self._calls.get(call.caller)
            if waiting is None:
                self.append(call)
            else:
                waiting[call] = None
                waiting.move_to_end(call, last=False)
                self._count += 1

    def remove(self, call: Call) -> None:
        """Forget a call that nobody waits for; nothing happens if it is not here."""
        calls = self._calls.get(call.caller)
        if calls is None or call not in calls:
            return
        del calls[call]
        self._count -= 1
        if not self._count:
            self._clear()

    def peek(self) -> Call:
        """Return the call that `take` will return.

        Raises:
            IndexError: There is none.
        """
        while not (calls := self._calls[self._turns[0][2]]):
            del self._calls[heappop(self._turns)[2]]
        return next(iter(calls))

    def take(self) -> Call:
        """Return the call whose turn it is, and forget it.

        Raises:
            IndexError: There is none.
        """
        call = self.peek()
        self._now, _, caller = heappop(self._turns)
        calls = self._calls[caller]
        del calls[call]
        self._count -= 1
        self._given[caller] = self._now + weight_of(call)
        if calls:
            self._stand(caller)
        else:
            del self._calls[caller]
            if not self._count:
                self._clear()
        return call

    def oldest_ns(self) -> int:
        """Return when the oldest call came, in monotonic nanoseconds; 0 if there is none."""
        heads = (next(iter(calls)) for calls in self._calls.values() if calls)
        return min((call.arrived_ns for call in heads), default=0)

    def is_long(self, now: int) -> bool:
        """Whether so many wait, and one so long, that somebody is late; `now` is as in a call."""
        return self._count > _SHORT_QUEUE and now - self.oldest_ns() > _LONG_WAIT_NS

    def is_late(self, caller: str, now: int) -> bool:
        """Whether a caller's own calls have waited too long for it to send more."""
        calls = self._calls.get(caller)
        if not calls:
            return False
        return now - next(iter(calls)).arrived_ns > _LONG_WAIT_NS

    def clear(self) -> list[Call]:
        """Forget all calls, and return them, oldest first."""
        found = sorted(self, key=lambda call: call.arrived_ns)
        self._count = 0
        self._clear()
        return found

    def _clear(self) -> None:
        self._calls.clear()
        self._turns.clear()
        self._given.clear()

    def _stand(self, caller: str) -> None:
        """Let a caller wait for its turn: one who was given nothing lately is among the first."""
        self._order += 1
        given = max(self._now, self._given.get(caller, 0.0))
        heappush(self._turns, (given, self._order, caller))
