"""A Penstock server whose recording can be switched while it runs: the subject of `recording.py`.

SIGUSR1 switches it off, SIGUSR2 on. Before it switches, it works out and writes what was noted, so
that what recording costs afterwards falls into the window it belongs to; then it adds a line to
the file that `PENSTOCK_BENCH_SWITCHED` names. While off it counts calls and errors, as deployments
show them, and leaves out the rest.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from penstock.cli.main import main
from penstock.control import predict
from penstock.control.insight.recorder import Recorder

TOLD = Path(os.environ["PENSTOCK_BENCH_SWITCHED"])
recorded = predict._finished
start = Recorder.start


def finished(call: Any, answer: Any) -> None:
    """Count an answer and hand it on."""
    tally = call.tally
    took = time.monotonic_ns() - call.arrived_ns
    tally._taken += 1
    tally.time_ns += took
    if answer.code:
        tally.notable(call, answer, took)
    call.then(call, answer)


class Counted(predict.Tally):
    """A tally that also has the sum of the times."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ns = 0


async def start_and_listen(recorder: Recorder) -> None:
    """Record, and switch at signals."""
    await start(recorder)
    loop = asyncio.get_running_loop()
    for number, finish in ((signal.SIGUSR1, finished), (signal.SIGUSR2, recorded)):
        loop.add_signal_handler(number, lambda f=finish: loop.create_task(switch(recorder, f)))


async def switch(recorder: Recorder, finish: Any) -> None:
    """Settle what was noted, then go on with or without recording."""
    recorder.take()
    if recorder._writing is not None:
        await recorder._writing
    await recorder._write()
    predict._finished = finish
    tell()


def tell() -> None:
    """Say that it is done."""
    TOLD.write_text(TOLD.read_text() + "\n")


predict.Tally = Counted
Recorder.start = start_and_listen

if __name__ == "__main__":
    main()
