"""A Penstock server that records nothing of its calls: the other side of `recording.py`.

It counts calls and errors, as deployments show them, and leaves out the rest.
"""

import time
from typing import Any

from penstock.cli.main import main
from penstock.control import predict
from penstock.control.insight.recorder import Recorder


def finished(call: Any, answer: Any) -> None:
    """Count an answer and hand it on."""
    tally = call.tally
    took = time.monotonic_ns() - call.arrived_ns
    tally.time_ns += took
    if answer.code:
        tally.notable(call, answer, took)
    call.then(call, answer)


class Counted(predict.Tally):
    """A tally with the sum of the times, and no lists."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ns = 0


async def start(_self: Recorder) -> None:
    """Record nothing."""


predict._finished = finished
predict.Tally = Counted
Recorder.start = start

if __name__ == "__main__":
    main()
