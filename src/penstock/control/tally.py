"""What one version has answered, noted on the hot path.

`penstock.control.predict` notes, `insight.recorder` takes what is new once a second and works it
out; the dashboard, `Guard` and `GET deployment` read the counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.core.errors import BY_CODE
from penstock.engine.base import Answer

if TYPE_CHECKING:
    from penstock.control.predict import PredictCall

#: Is given a call to keep, its answer and the nanoseconds from arrival to answer.
Keep = Callable[["PredictCall", Answer, int], None]


def _keep_nothing(_call: PredictCall, _answer: Answer, _took_ns: int) -> None:
    """Nobody keeps calls."""


class Tally:
    """Plain integers and lists: written and read on the event loop only.

    Attributes:
        calls: Calls handed to the pool.
        errors: Calls answered with an error code.
        cancelled: Calls whose caller went away.
        codes: Calls answered with an error, by its code.
        took_ns: Nanoseconds from arrival to answer of the calls answered since `take`; plain
            numbers without objects, so that a busy second holds no memory to speak of.
        timings: The `Server-Timing` texts of every `stride`-th of these calls, in their order.
        stride: Set at each `take` to what the calls since the last one suggest.
        skip: Calls still to come before the next one whose text is taken.
        wanted: How many of the next good calls `keep` is given. It is given all that failed.
        keep: Is given calls.
        on_answer: Called with each call that is answered with a result, and its answer, where
            predictions are logged; else None.
    """

    __slots__ = (
        "_taken", "calls", "cancelled", "codes", "errors", "keep", "on_answer", "skip", "stride",
        "timings", "took_ns", "wanted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.on_answer: Callable[[PredictCall, Answer], None] | None = None
        self.calls = 0
        self.errors = 0
        self.cancelled = 0
        self.codes: dict[str, int] = {}
        self.took_ns = array("q")
        self.stride = 1
        self.skip = 0
        self.timings: list[bytes] = []
        self.wanted = 0
        self.keep: Keep = _keep_nothing
        self._taken = 0

    @property
    def answered(self) -> int:
        """Calls that were answered, with a result or an error."""
        return self._taken + len(self.took_ns)

    @property
    def in_hand(self) -> int:
        """Calls that are not answered yet."""
        return self.calls - self.answered - self.cancelled

    def notable(self, call: PredictCall, answer: Answer, took_ns: int) -> None:
        """Count an answer that is an error; hand on a call that somebody wants."""
        code = answer.code
        if code:
            self.errors += 1
            if code in BY_CODE:  # what a worker makes up must not fill our memory
                self.codes[code] = self.codes.get(code, 0) + 1
        if not code:
            self.wanted -= 1
        self.keep(call, answer, took_ns)

    def take(self, texts: int) -> tuple[array[int], list[bytes]]:
        """Return times and texts of the calls answered since this was last called.

        Args:
            texts: How many texts are wanted the next time, about. With fewer calls it is all of
                them; the first call after this always gives its text.
        """
        took, timings = self.took_ns, self.timings
        self._taken += len(took)
        self.took_ns, self.timings = array("q"), []
        self.stride, self.skip = max(1, len(took) // texts), 0
        return took, timings
