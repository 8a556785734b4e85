"""The calls of one version that wait for a replica, so that no caller makes the others wait.

Callers take turns by the work they were given, not by who came first: a caller with a thousand
calls in the queue delays another one's single call by one call, not by a thousand. Work is counted
in bytes of body, as everywhere in the engine; a caller's own calls keep their order. This is
start-time fair queueing (Goyal, Vin and Cheng, 1996) with equal shares. Used by `dispatcher`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from penstock.engine.base import Call
from penstock.engine.local.window import weight_of


class FairQueue:
    """Calls that wait, by caller. A caller is the key that it calls with."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[Call]] = {}
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
            self._calls[call.caller] = deque((call,))
            self._stand(call.caller)
        else:
            calls.append(call)
        self._count += 1

    def put_back(self, calls: list[Call]) -> None:
        """Put calls that were taken before in front of those of their callers, in their order."""
        for call in reversed(calls):
            waiting = self._calls.get(call.caller)
            if waiting is None:
                self.append(call)
            else:
                waiting.appendleft(call)
                self._count += 1

    def peek(self) -> Call:
        """Return the call that `take` will return.

        Raises:
            IndexError: There is none.
        """
        return self._calls[self._turns[0][2]][0]

    def take(self) -> Call:
        """Return the call whose turn it is, and forget it.

        Raises:
            IndexError: There is none.
        """
        self._now, _, caller = heappop(self._turns)
        calls = self._calls[caller]
        call = calls.popleft()
        self._count -= 1
        self._given[caller] = self._now + weight_of(call)
        if calls:
            self._stand(caller)
        else:
            del self._calls[caller]
            if not self._count:
                self._given.clear()
        return call

    def oldest_ns(self) -> int:
        """Return when the oldest call came, in monotonic nanoseconds; 0 if there is none."""
        return min((calls[0].arrived_ns for calls in self._calls.values()), default=0)

    def clear(self) -> list[Call]:
        """Forget all calls, and return them, oldest first."""
        found = sorted(self, key=lambda call: call.arrived_ns)
        self._calls.clear()
        self._turns.clear()
        self._given.clear()
        self._count = 0
        return found

    def _stand(self, caller: str) -> None:
        """Let a caller wait for its turn: one who was given nothing lately is among the first."""
        self._order += 1
        given = max(self._now, self._given.get(caller, 0.0))
        heappush(self._turns, (given, self._order, caller))
