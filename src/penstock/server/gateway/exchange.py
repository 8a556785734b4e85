"""One predict call of a connection: its place in the order of answers.

Made by `protocol` when a request is whole (or refused); the engine's answer comes to `done`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from penstock.codec.frames import SHOW_TRACEBACK
from penstock.control.predict import Answer, Call
from penstock.server.gateway.respond import Rendered, Wire, render

if TYPE_CHECKING:
    from penstock.control.predict import PredictCall

#: Bodies over this many bytes are written as they are, not joined to their header fields.
_LARGE = 64 * 1024


class AnswerQueue(Protocol):
    """The connection that writes the answers in order."""

    def flush(self) -> None:
        """Write every answer that is next in order."""


class Exchange:
    """One request to be answered.

    Attributes:
        call: The call while it is with the engine, else None.
        keep: Whether the connection is kept after this answer.
        out: What to write, once answered.
        rest: A large body, to be written after `out` without a copy.
    """

    __slots__ = ("_queue", "_wire", "call", "keep", "out", "rest")

    def __init__(self, queue: AnswerQueue, wire: Wire, keep: bool) -> None:
        self._queue = queue
        self._wire = wire
        self.keep = keep
        self.call: PredictCall | None = None
        self.out: bytes | None = None
        self.rest: bytes | memoryview = b""

    def done(self, call: Call, answer: Answer) -> None:
        """Take the engine's answer."""
        self.call = None  # call and exchange know each other: do not leave that to the collector
        if self.keep and not answer.code and not answer.media and len(answer.body) <= _LARGE:
            self.out = self._wire.success(answer, call.run_id)
        else:
            self.settle(answer, call.run_id, with_traceback=bool(call.flags & SHOW_TRACEBACK))
        self._queue.flush()

    def settle(self, answer: Answer, run_id: str, *, with_traceback: bool = False) -> None:
        """Set the answer without writing it yet."""
        self.settle_as(render(answer, run_id, with_traceback=with_traceback))

    def settle_as(self, rendered: Rendered) -> None:
        """Set an answer that is HTTP already, without writing it yet."""
        if not self.keep:
            rendered.headers.append((b"connection", b"close"))
        head = self._wire.head(rendered)
        if len(rendered.body) <= _LARGE:
            self.out = head + bytes(rendered.body)
        else:
            self.out, self.rest = head, rendered.body
