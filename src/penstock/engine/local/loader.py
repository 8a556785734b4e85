"""What a worker is given to load and serve a version; `wiring` and tests make one.

Two steps, because a template does the first for many workers: `prepare` loads functions and models
and may be done before a fork, `serve` makes what belongs to one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from penstock.codec.frames import CallFrame, Load, ReplyFrame
from penstock.codec.memory import WorkerAnswer, WorkerRequest

Ask = Callable[[WorkerRequest], WorkerAnswer]


class Service(Protocol):
    """What answers calls."""

    def answer(self, calls: list[CallFrame]) -> Sequence[ReplyFrame]:
        """Return one reply for each call, in any order."""

    def facts(self) -> dict[str, Any]:
        """Return what people may want to know about the loaded version."""


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
    serve: Callable[[Any, Load, Tools], Service]
