"""What recording costs: the same server with and without it, in turn.

  python benchmarks/recording.py [--seconds 3] [--rounds 8] [--cases AD] [--clients 64]

Both servers run all the time; load goes to one, then to the other. The wall clock of a busy machine
says little, so the CPU time of the server process and of its worker per request is shown, too: the
medians of the rounds and the median of the ratios of neighbours.
"""

import argparse
import statistics
import sys
from typing import Any

import machine
from extras import _workers
from load import load
from models import ensure_models
from ours import FLOWS, Penstock
from places import OUR_PYTHON, SERVERS
from processes import cpu_seconds


class Without(Penstock):
    """A server that records nothing."""

    def spawn(self, command: list[str], *rest: Any) -> None:
        """Start the other entry with the same arguments."""
        entry = [OUR_PYTHON, str(SERVERS / "without_recording.py")]
        super().spawn([*entry, *command[3:]], *rest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cases", default="AD")
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    systems = [Penstock(), Without()]
    try:
        for system in systems:
            system.start()
            for case in given.cases:
                system.deploy(FLOWS[case])
        for case in given.cases:
            compare(systems, case, given)
    finally:
        for system in systems:
            system.stop()
    return 0


def compare(systems: list[Any], case: str, given: argparse.Namespace) -> None:
    """Print the figures of one case."""
    rows: list[list[dict[str, float]]] = [[], []]
    for number in range(given.rounds + 1):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            row = point(systems[which], case, given.clients, given.seconds)
            if number:  # the first round warms up
                rows[which].append(row)
    print(f"\n{case}: {given.clients} clients, {given.rounds} rounds of {given.seconds} s\n")
    print(f"  {'':<22}{'recording':>12}{'without':>12}{'ratio':>10}")
    for name in rows[0][0]:
        mine, other = ([row[name] for row in side] for side in rows)
        ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
        print(
            f"  {name:<22}{statistics.median(mine):>12.2f}{statistics.median(other):>12.2f}"
            f"{ratio:>10.3f}"
        )


def point(system: Any, case: str, clients: int, seconds: int) -> dict[str, float]:
    """Return requests a second and CPU microseconds per request."""
    server, workers = [system.process.pid], _workers(system)
    before = cpu_seconds(server), cpu_seconds(workers)
    found = load(system.port, system.requests(case), clients, seconds)
    count = max(1, found["n"])
    return {
        "requests/s": found["rps"],
        "server CPU µs": (cpu_seconds(server) - before[0]) / count * 1e6,
        "worker CPU µs": (cpu_seconds(workers) - before[1]) / count * 1e6,
    }


if __name__ == "__main__":
    sys.exit(main())
