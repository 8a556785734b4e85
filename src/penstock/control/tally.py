"""What one version has answered, counted on the hot path.

`penstock.control.predict` counts; the dashboard, `Guard` and `GET deployment` read.
"""

from __future__ import annotations

from collections.abc import Callable

from penstock.core.errors import BY_CODE
from penstock.engine.base import Answer, Call

#: A bucket for every time that 63 bits of nanoseconds can hold.
_BUCKETS = 54


class Tally:
    """Plain integers: written and read on the event loop only.

    Attributes:
        calls: Calls handed to the pool.
        errors: Calls answered with an error code.
        cancelled: Calls whose caller went away.
        codes: Calls answered with an error, by its code.
        time_ns: Sum of the time from arrival to answer of the answered calls.
        buckets: Answered calls by time: bucket `i` counts those of less than `2**i` microseconds
            (1024 ns) that are not in a lower bucket.
        on_answer: Called with each call that is answered with a result, and its answer, where
            predictions are logged; else None.
    """

    __slots__ = ("buckets", "calls", "cancelled", "codes", "errors", "on_answer", "time_ns")

    def __init__(self) -> None:
        self.on_answer: Callable[[Call, Answer], None] | None = None
        self.calls = 0
        self.errors = 0
        self.cancelled = 0
        self.time_ns = 0
        self.codes: dict[str, int] = {}
        self.buckets = [0] * _BUCKETS

    @property
    def answered(self) -> int:
        """Calls that were answered, with a result or an error."""
        return sum(self.buckets)

    def failed(self, code: str) -> None:
        """Count an answer that is the error `code`."""
        self.errors += 1
        if code in BY_CODE:  # what a worker makes up must not fill our memory
            self.codes[code] = self.codes.get(code, 0) + 1
