"""What a worker is given to load and serve a version; `wiring` and tests make one.

Two steps, because a template does the first for many workers: `prepare` loads functions and models
and may be done before a fork, `serve` makes what belongs to one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.codec.memory import WorkerAnswer, WorkerRequest
from penstock.codec.worker_messages import Load

Ask = Callable[[WorkerRequest], WorkerAnswer]


class Service(Protocol):
    """What answers calls."""

    def answer(self, calls: list[CallFrame]) -> Sequence[ReplyFrame]:
        """Return one reply for each call, in any order."""

    def facts(self) -> dict[str, Any]:
        """Return what people may want to know about the loaded version."""


class Seat(Protocol):
    """One call inside a worker that holds several at once."""

    @property
    def call(self) -> CallFrame:
        """The call."""

    def at(self, stage: int, part: int) -> None:
        """Say where the call is: stage from 1, `part` an index into `begun.PARTS`."""

    def answer(self, reply: ReplyFrame) -> None:
        """Answer the call, from any thread. Only the first answer counts."""

    def leave(self) -> None:
        """Answer a call that nobody waits for any more."""


@runtime_checkable
class Overlapping(Protocol):
    """A service that holds several calls at once, because its functions wait for something.

    Attributes:
        concurrency: How many it holds at once, 1 to `seats.MOST_SEATS`.
    """

    concurrency: int

    def facts(self) -> dict[str, Any]:
        """Return what people may want to know about the loaded version."""

    def begin(self, seat: Seat) -> None:
        """Begin a call and return; it is answered through its seat."""

    def cancel(self, seat: Seat) -> None:
        """Let go of a call that nobody waits for, if that is possible. Any thread calls it."""

    def work(self) -> None:
        """Lend the service the main thread; return after `end`."""

    def end(self) -> None:
        """Have `work` return: no call is inside, and none will come."""


class Tools:
    """What a service may use: the memory store, the page that says where a run is, notices."""

    def __init__(
        self,
        ask: Ask,
        at: Callable[[int, int], None],
        notice: Callable[[dict[str, Any]], None],
    ) -> None:
        self.ask = ask
        self.at = at
        self.notice = notice


class Loader(NamedTuple):
    """How a version is loaded and served.

    Attributes:
        prepare: Returns the loaded version. Must leave no thread, connection or lock behind that a
            forked child would miss, or the version gets no template.
        serve: Returns the service of this process for what `prepare` returned.
    """

    prepare: Callable[[Load], Any]
    serve: Callable[[Any, Load, Tools], Service | Overlapping]
