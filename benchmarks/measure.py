"""One system, one round: start it, check its answers, measure every point, stop it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from load import load
from ours import start_ours
from peers import PEERS
from places import SERVERS, environment, python_of
from processes import cpu_seconds, memory_mb
from system import System, start_peer
from validate import check_case, check_mixed

#: Cases that peers run too, in the order of the tables.
COMPARED = "ABCDH"

#: Cases whose answers are checked with many different requests at once.
MIXED = "ACD"

#: Cores that other programs may use during a point before it is taken again, and how often.
QUIET = 0.15
TRIES = 3

Say = Callable[[str], None]


class Options(NamedTuple):
    """How to measure. `seconds` and `warmup_s` are whole seconds of one point."""

    cases: str = "ABCD"
    clients: tuple[int, ...] = (1, 16, 64)
    rounds: int = 3
    seconds: int = 3
    warmup_s: int = 2
    boot_s: float = 90.0

    def point_s(self) -> float:
        """Return about how long a point takes."""
        return self.seconds + max(1, self.warmup_s - 1) + 0.3


def measure(name: str, options: Options, number: int, say: Say) -> dict[str, Any]:
    """Return the record of one system in one round; a failure is in it, not raised."""
    record: dict[str, Any] = {"system": name, "round": number, "points": {}, "checks": {}}
    if name == "in-process":
        _measure_in_process(record, options, say)
        return record
    system: System | None = None
    try:
        system = _start(name, options)
        record["cold_s"] = system.cold_s
        _check(system, options, record)
        for case in options.cases:
            if case in COMPARED and not record["checks"][case]:
                _measure_case(system, case, options, record, say)
        pids = system.pids()
        record["memory"] = {**memory_mb(pids), "processes": len(pids)}
    except Exception as error:
        record["failed"] = f"{type(error).__name__}: {error}"[:600]
        say(f"{name}: {record['failed']}")
    finally:
        if system is not None:
            system.stop()
    return record


def _start(name: str, options: Options) -> System:
    cases = "".join(case for case in options.cases if case in COMPARED)
    if name == "penstock":
        return start_ours(cases, options.boot_s)
    return start_peer(name, options.boot_s)


def _check(system: System, options: Options, record: dict[str, Any]) -> None:
    for case in options.cases:
        if case not in COMPARED:
            continue
        wrong = check_case(system.port, system.requests, case)
        if not wrong and case in MIXED:
            wrong = check_mixed(system.port, system.style, system.headers, case)
        record["checks"][case] = wrong


def _measure_case(
    system: System, case: str, options: Options, record: dict[str, Any], say: Say
) -> None:
    requests = system.requests(case)
    for turn, clients in enumerate(options.clients):
        warmup_s = options.warmup_s if turn == 0 else max(1, options.warmup_s - 1)
        load(system.port, requests, clients, warmup_s)
        point = measured(system, requests, clients, options.seconds)
        record["points"][f"{case}{clients}"] = point
        say(f"{system.name} {case} with {clients}: {in_words(point)}")


def measured(
    system: System, requests: list[Any], clients: int, seconds: int, **more: Any
) -> dict[str, Any]:
    """Return the figures of one point, with the server's CPU time per request in microseconds.

    `others` is how many cores other programs used meanwhile. A point in which they used much is
    taken again, three times at most, and the quietest is kept.
    """
    found: list[dict[str, Any]] = []
    for _ in range(TRIES):
        found.append(_measured_once(system, requests, clients, seconds, more))
        if found[-1]["others"] <= QUIET:
            break
    return min(found, key=lambda point: float(point["others"]))


def _measured_once(
    system: System, requests: list[Any], clients: int, seconds: int, more: dict[str, Any]
) -> dict[str, Any]:
    pids = system.pids()
    begun, before, busy = time.monotonic(), cpu_seconds(pids), _busy_seconds()
    point = load(system.port, requests, clients, seconds, **more)
    cpu = cpu_seconds(pids) - before
    others = _busy_seconds() - busy - cpu
    point["cpu_us"] = cpu / max(1, point["n"]) * 1e6
    point["others"] = max(0.0, others / (time.monotonic() - begun))
    return point


def _busy_seconds() -> float:
    """Return the CPU time all programs of the machine have used, but for our own and wrk's."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(text) for text in fields[:8])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:4])
    return busy - own


def in_words(point: dict[str, Any]) -> str:
    """Return a point as the progress shows it."""
    errors = f", {point['errors']} ERRORS" if point["errors"] else ""
    loud = f", other programs took {point['others']:.1f} cores" if point["others"] > QUIET else ""
    return (
        f"{point['rps']:,.0f}/s, p50 {point['p50_ms']:.2f}, p99 {point['p99_ms']:.2f} ms, "
        f"{point['cpu_us']:.0f} us CPU{errors}{loud}"
    )


def _measure_in_process(record: dict[str, Any], options: Options, say: Say) -> None:
    """Run the flow in a loop without a server, in the environment of the plain peers."""
    script = SERVERS / "in_process.py"
    command = [str(python_of("base")), str(script), str(options.seconds)]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    if done.returncode:
        record["failed"] = done.stderr[-300:]
        return
    for line in done.stdout.splitlines():
        point = json.loads(line)
        case = point.pop("case")
        if case in options.cases:
            record["points"][f"{case}1"] = point
    say(f"in-process: {time.monotonic() - begun:.0f} s")


def installed(name: str) -> bool:
    """Whether a system can be started here."""
    if name == "penstock":
        return True
    venv = "base" if name == "in-process" else PEERS[name].venv
    return python_of(venv).exists()
