"""Compares checkouts of Penstock, or settings, under load that goes from one to the other in turn.

  python benchmarks/compare.py before=../before after=. --points A64,D16,D64
  python benchmarks/compare.py one=. two=.,replicas=2 --points A64,B64
  python benchmarks/compare.py before=../before after=. --points E1

  python benchmarks/compare.py interpreted=. compiled=.,package=build/wheel --points A64,D64

Each checkout needs its `.venv`. What stands behind a comma goes to `deploy`, but for `package`: the
folder of an unpacked wheel that is measured in place of the checkout's own code. All servers run
the whole time; the load goes to one after the other, in the other order in every second round. So
what else the machine does falls on all of them alike. Prints medians: answers a second, p50, p99,
and CPU microseconds per request of the server process and of the workers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import machine
from cases import Request
from extras import _to, _workers
from load import load
from models import ensure_models
from ours import FLOWS, Penstock
from places import HERE, WORK
from processes import cpu_seconds

_NPY = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}


class Subject(NamedTuple):
    """A checkout with what is given to `deploy`."""

    name: str
    tree: str
    options: dict[str, Any]
    package: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subjects", nargs="+", metavar="NAME=CHECKOUT[,OPTION=VALUE]")
    parser.add_argument(
        "--points", default="A64,D64", help="cases of ABCDE with numbers of clients"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    points = [(point[0], int(point[1:])) for point in given.points.split(",")]
    if given.serve is not None:
        return serve(json.loads(given.serve), {case for case, _ in points})
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    run([_subject(text) for text in given.subjects], points, given)
    return 0


def _subject(text: str) -> Subject:
    name, _, rest = text.partition("=")
    tree, *options = rest.split(",")
    given = {key: value for key, _, value in (option.partition("=") for option in options)}
    package = given.pop("package", "")
    return Subject(name, tree, {k: json.loads(v) for k, v in given.items()}, package)


def run(subjects: list[Subject], points: list[tuple[str, int]], given: Any) -> None:
    """Start all, load each in turn, print the table."""
    served = {subject.name: Served(subject, given.points) for subject in subjects}
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    try:
        for number in range(given.rounds + 1):  # the first is for warming up
            for case, clients in points:
                for name in list(served)[:: -1 if number % 2 else 1]:
                    row = served[name].load(case, clients, given.seconds if number else 1)
                    if number:
                        found.setdefault((f"{case}{clients}", name), []).append(row)
    finally:
        for one in served.values():
            one.stop()
    print("\n| point | | req/s | p50 ms | p99 ms | server us | workers us | errors |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for (point, name), rows in found.items():
        rps, p50, p99, server, workers, errors = map(statistics.median, zip(*rows, strict=True))
        figures = f"{rps:,.0f} | {p50:.2f} | {p99:.2f} | {server:.1f} | {workers:.1f}"
        print(f"| {point} | {name} | {figures} | {errors:.0f} |")


class Served:
    """One server with its flows, started by the Python of its checkout."""

    def __init__(self, subject: Subject, points: str) -> None:
        tree = (HERE / subject.tree).resolve() if subject.tree != "." else HERE.parent
        command = [str(tree / ".venv/bin/python"), str(tree / "benchmarks" / "compare.py"), "x=x"]
        command += ["--points", points, "--serve", json.dumps(subject.options)]
        package = str(Path(subject.package).resolve()) if subject.package else ""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PENSTOCK_BENCH_PACKAGE": package},
        )
        assert self._process.stdout is not None
        self.port, self._pid, self._workers, told = json.loads(self._process.stdout.readline())
        self._requests = {
            case: [Request(path, headers, body.encode("latin-1")) for path, headers, body in made]
            for case, made in told.items()
        }

    def load(self, case: str, clients: int, seconds: int) -> tuple[float, ...]:
        """Return the figures of one point."""
        before = cpu_seconds([self._pid]), cpu_seconds(self._workers)
        got = load(self.port, self._requests[case], clients, seconds)
        after = cpu_seconds([self._pid]), cpu_seconds(self._workers)
        spent = [(b - a) * 1e6 / got["n"] for a, b in zip(before, after, strict=True)]
        return got["rps"], got["p50_ms"], got["p99_ms"], *spent, got["errors"]

    def stop(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def serve(options: dict[str, Any], cases: set[str]) -> int:
    """Deploy what the cases need, say where it is, and end when standard input does."""
    system = Penstock().start()
    try:
        for flow in dict.fromkeys("e" if case == "E" else FLOWS[case] for case in sorted(cases)):
            system.deploy(flow, **options)
        system.end_client()
        made = {case: _requests(system, case) for case in cases}
        print(json.dumps([system.port, system.process.pid, _workers(system), made]), flush=True)
        sys.stdin.read()
    finally:
        system.stop()
    return 0


def _requests(system: Penstock, case: str) -> list[tuple[str, dict[str, str], str]]:
    requests = system.requests(case) if case != "E" else [_npy(system)]
    return [(r.path, r.headers, r.body.decode("latin-1")) for r in requests]


def _npy(system: Penstock) -> Request:
    return _to(system, "bench-e", Request("", _NPY, (WORK / "e.npy").read_bytes()))


if __name__ == "__main__":
    sys.exit(main())
