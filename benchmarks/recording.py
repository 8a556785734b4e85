"""What recording costs: one server, its recording switched off and on in turn in short windows.

  python benchmarks/recording.py [--cases AD] [--pairs 40] [--clients 64]

Two servers side by side differ by more than what is measured here, by the luck of addresses and
hashes, so it is the same server and the same worker throughout. A pair is a second with and a
second without, in changing order. CPU time is that of every thread in nanoseconds, and what was
noted in a window is worked out and written before its CPU time is read. Printed are medians, the
median of the pairs' ratios, and the interval that holds it with 95 % certainty (bootstrap).
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
from extras import _workers
from load import load
from models import ensure_models
from ours import FLOWS, Penstock
from places import OUR_PYTHON, SERVERS

#: Seconds of a window.
WINDOW_S = 1

#: Most that recording may cost, as a share.
LIMIT = 0.03

OFF, ON = signal.SIGUSR1, signal.SIGUSR2


class Switched(Penstock):
    """A server whose recording can be switched."""

    told = Path(tempfile.gettempdir()) / f"penstock-bench-switched-{os.getpid()}"

    def spawn(self, command: list[str], env: dict[str, str], *rest: Any) -> None:
        """Start the other entry with the same arguments."""
        self.told.write_text("")
        entry = [OUR_PYTHON, str(SERVERS / "switched_recording.py")]
        super().spawn(
            [*entry, *command[3:]], {**env, "PENSTOCK_BENCH_SWITCHED": str(self.told)}, *rest
        )

    def switch(self, to: signal.Signals) -> None:
        """Switch, and return when all that was noted before is worked out and written."""
        before = self.told.stat().st_size
        self.process.send_signal(to)
        until = time.monotonic() + 10
        while self.told.stat().st_size == before:
            if time.monotonic() > until:
                raise RuntimeError("the server does not answer the signal")
            time.sleep(0.002)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--cases", default="AD")
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    system, good = Switched(), True
    try:
        system.start()
        for case in given.cases:
            system.deploy(FLOWS[case])
        system.end_client()
        for case in given.cases:
            good &= compare(system, case, given)
    finally:
        system.stop()
        system.told.unlink(missing_ok=True)
    return 0 if good else 1


def compare(system: Switched, case: str, given: argparse.Namespace) -> bool:
    """Print the figures of one case; return whether recording costs less than the limit."""
    rows: dict[signal.Signals, list[dict[str, float]]] = {ON: [], OFF: []}
    for number in range(given.pairs + 1):
        for to in (ON, OFF) if number % 2 else (OFF, ON):
            row = window(system, case, to, given.clients)
            if number:  # the first pair warms up
                rows[to].append(row)
    print(f"\n{case}: {given.clients} clients, {given.pairs} pairs of windows of {WINDOW_S} s\n")
    print(f"  {'':<22}{'recording':>12}{'without':>12}{'ratio':>10}   95 %")
    for name in rows[ON][0]:
        mine, other = ([row[name] for row in rows[to]] for to in (ON, OFF))
        ratio, low, high = ratio_of([a / b for a, b in zip(mine, other, strict=True)])
        print(
            f"  {name:<22}{statistics.median(mine):>12.2f}{statistics.median(other):>12.2f}"
            f"{ratio:>10.4f}   {low:.4f}..{high:.4f}"
        )
    return ratio - 1 < LIMIT  # of the last line: all CPU


def window(system: Switched, case: str, to: signal.Signals, clients: int) -> dict[str, float]:
    """Return requests a second and CPU microseconds per request."""
    system.switch(to)
    server, workers = system.process.pid, _workers(system)
    before = cpu_us([server]), cpu_us(workers)
    found = load(system.port, system.requests(case), clients, WINDOW_S)
    system.switch(to)
    used = cpu_us([server]) - before[0], cpu_us(workers) - before[1]
    count = max(1, found["n"])
    return {
        "requests/s": found["rps"],
        "server CPU µs": used[0] / count,
        "worker CPU µs": used[1] / count,
        "CPU µs, both": sum(used) / count,
    }


def cpu_us(pids: list[int]) -> float:
    """Return the CPU time of all threads of some processes in microseconds."""
    found = (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in found) / 1e3


def ratio_of(ratios: list[float]) -> tuple[float, float, float]:
    """Return the median and the bounds of its 95 % interval."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[-51]


if __name__ == "__main__":
    sys.exit(main())
