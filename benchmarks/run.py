"""Runs Penstock beside its peers and prints one table: `make bench`.

  python benchmarks/run.py                     all systems, all cases, three rounds: over an hour
  python benchmarks/run.py --quick             one short round, about ten minutes
  python benchmarks/run.py --only penstock,mosec-batch --cases A --conc 1,16
  python benchmarks/run.py --report FILE.json  the tables of an earlier run

PENSTOCK_BENCH_DIR is the work folder, PENSTOCK_BENCH_VENVS the folder of the peers' environments.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import load
import machine
import report
from extras import EXTRAS, run_extra
from measure import COMPARED, Options, installed, measure
from models import ensure_models
from peers import PEERS
from places import HERE, OUR_PYTHON, WORK

SYSTEMS = ["penstock", "in-process", *PEERS]


def main() -> int:
    given = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)  # so that what was started is ended
    if given.report:
        print("\n".join(report.whole(json.loads(given.report.read_text()))))
        return 0
    if not load.available():
        print("`wrk` is missing: install the package wrk of your distribution.", file=sys.stderr)
        return 2
    ensure_models()
    options = Options(given.cases, given.conc, given.rounds, given.seconds, given.warmup)
    names = [name for name in given.only if installed(name)]
    missing = [name for name in given.only if name not in names]
    data = _new_data(options, names, missing)
    say = _Progress(given.out)
    say.start(names, missing, options, data)
    until = time.monotonic() + given.minutes * 60
    _compare(names, options, data, say, until)
    if "penstock" in names:
        _extras(options, data, say, until)
    lines = report.whole(data)
    print("\n".join(lines))
    say.write(data)
    print(f"\nRaw figures: {given.out}")
    _plot(given.out)
    if given.record:
        report.record_in(lines)
    return 0


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 2 s a point")
    parser.add_argument("--only", default=",".join(SYSTEMS), help="systems, by name")
    parser.add_argument("--cases", default="ABCD" + EXTRAS, help=f"of {COMPARED}{EXTRAS}")
    parser.add_argument("--conc", default="1,16,64", help="numbers of clients")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3)")
    parser.add_argument("--seconds", type=int, help="of a point (3)")
    parser.add_argument("--warmup", type=int, help="seconds before a case's first point (2)")
    parser.add_argument("--minutes", type=float, default=120, help="start nothing new after these")
    parser.add_argument("--record", action="store_true", help="add the report to results.md")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--report", type=Path, metavar="JSON", help="only print a run's tables")
    given = parser.parse_args()
    default = (1, 2, 1) if given.quick else (3, 3, 2)
    for name, value in zip(("rounds", "seconds", "warmup"), default, strict=True):
        if getattr(given, name) is None:
            setattr(given, name, value)
    given.conc = tuple(int(text) for text in given.conc.split(","))
    given.only = [name for name in given.only.split(",") if name]
    given.out = given.out or WORK / time.strftime("results-%Y%m%d-%H%M%S.json")
    unknown = [name for name in given.only if name not in SYSTEMS]
    if unknown or set(given.cases) - set(COMPARED + EXTRAS):
        parser.error(f"unknown system or case; systems: {' '.join(SYSTEMS)}")
    return given


def _new_data(options: Options, names: list[str], missing: list[str]) -> dict[str, Any]:
    facts = machine.describe()
    venvs = sorted({PEERS[name].venv for name in names if name in PEERS})
    return {
        "date": report.date(),
        "commit": _commit(),
        "machine": facts,
        "machine_lines": machine.lines(facts),
        "versions": machine.versions(venvs),
        "echo": _echo_stage(),
        "options": options._asdict(),
        "missing": missing,
        "records": [],
        "figures": [],
    }


def _commit() -> str:
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _echo_stage() -> str:
    code = "from penstock import model_type as m; print('PYTHON' in m.__members__)"
    done = subprocess.run([OUR_PYTHON, "-c", code], capture_output=True, text=True)
    return "a function" if done.stdout.strip() == "True" else "a TorchScript identity"


class _Progress:
    """One line for each point, with the time; the raw figures are kept on disk as they come."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.0f} s] {text}", flush=True)

    def start(
        self, names: list[str], missing: list[str], options: Options, data: dict[str, Any]
    ) -> None:
        print(*data["machine_lines"], sep="\n")
        compared = [case for case in options.cases if case in COMPARED]
        points = len(names) * len(compared) * len(options.clients) * options.rounds
        minutes = (points * options.point_s() + len(names) * options.rounds * 6) / 60
        print(f"{points} points, about {minutes:.0f} minutes: {', '.join(names)}")
        if missing:
            print(f"Not installed (benchmarks/setup_peers.py): {', '.join(missing)}")

    def write(self, data: dict[str, Any]) -> None:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(data, indent=1))


def _compare(
    names: list[str], options: Options, data: dict[str, Any], say: _Progress, until: float
) -> None:
    """Measure every system in every round; the order turns by one each round."""
    if not any(case in COMPARED for case in options.cases):
        return
    for number in range(options.rounds):
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            if time.monotonic() > until:
                say(f"round {number + 1}: no time left for {name}")
                continue
            data["records"].append(
                measure(name, options, number, lambda text, n=number + 1: say(f"round {n}: {text}"))
            )
            say.write(data)


def _extras(options: Options, data: dict[str, Any], say: _Progress, until: float) -> None:
    for case in options.cases:
        if case in EXTRAS and time.monotonic() < until:
            data["figures"] += run_extra(case, options, say)
            say.write(data)


def _plot(results: Path) -> None:
    command = [sys.executable, str(HERE / "plot.py"), str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    print((done.stdout + done.stderr).strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
