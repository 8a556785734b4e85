"""What the executor holds of each deployment: runs inside the pool, and runs about to go in."""

from __future__ import annotations

import asyncio
from collections import deque

from penstock.control.predict import Answer, PredictCall
from penstock.core.run_records import Name, RunRecord


class Held:
    """A claimed run.

    Attributes:
        run: As it was claimed.
        call: Its call, once it is with the pool.
        answer: The pool's answer; None when nobody wants it any more.
        aborted: Whether it was given up.
    """

    __slots__ = ("aborted", "answer", "call", "run")

    def __init__(self, run: RunRecord) -> None:
        self.run = run
        self.call: PredictCall | None = None
        self.answer: asyncio.Future[Answer | None] | None = None
        self.aborted = False


class Lane:
    """The runs of one deployment.

    A run whose worker died goes in alone: should it be the cause, it takes no other run along.

    Attributes:
        name: The deployment.
        due: When to look for queued runs (seconds since the epoch); None: when woken.
        inside: Runs with the pool.
        ready: Claimed runs that may go in together.
        alone: Claimed runs that go in one by one.
    """

    def __init__(self, name: Name) -> None:
        self.name = name
        self.due: float | None = None
        self.inside: set[Held] = set()
        self.ready: deque[Held] = deque()
        self.alone: deque[Held] = deque()
        self._quiet = False

    def room(self, at_once: int) -> int:
        """Return how many more runs may be claimed."""
        if self.alone or self._quiet:
            return 0
        return at_once - len(self.inside) - len(self.ready)

    def next(self) -> Held | None:
        """Return the run that may go in now, if any; it is then the caller's."""
        if not self.inside:
            self._quiet = False
        if self._quiet:
            return None
        if self.ready:
            return self.ready.popleft()
        if self.alone and not self.inside:
            self._quiet = True
            return self.alone.popleft()
        return None
