"""Where the time of a request goes: a table of parts for cases A and D.

  python benchmarks/where.py [--seconds 3] [--cases AD]

Three looks at the same thing, none of which needs a profiler:

1. under load (1, 16, 64 clients): CPU of the server process and of the worker per request, and what
   the answers themselves say in `Server-Timing` (milliseconds of each part of the batch that the
   request was in);
2. in this process: each part alone, in a loop, for 1, 16 and 64 requests taken at once;
3. a uvloop protocol that answers one fixed text: what loop and kernel cost any asyncio gateway.
"""

import argparse
import socket
import sys
import time
from typing import Any

import machine
from extras import _workers
from load import load
from models import ensure_models
from ours import start_ours
from parts import parts_of
from places import OUR_PYTHON, SERVERS, WORK, environment
from processes import cpu_seconds
from system import System

CLIENTS = (1, 16, 64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--cases", default="AD")
    given = parser.parse_args()
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    system = start_ours(given.cases, 60)
    try:
        for case in given.cases:
            rows = [under_load(system, case, clients, given.seconds) for clients in CLIENTS]
            print(f"\n{case}: under load\n")
            print("\n".join(_table(rows)))
    finally:
        system.stop()
    print("\nThe floor: a uvloop protocol that only reads and writes\n")
    print("\n".join(_table(loop_floor(given.seconds))))
    print("\nEach part alone, in one process: microseconds per request\n")
    print("\n".join(_parts_table(parts_of(given.cases))))
    return 0


def under_load(system: Any, case: str, clients: int, seconds: int) -> dict[str, float]:
    """Return CPU by process and switches per request, then the parts of `Server-Timing`."""
    requests = system.requests(case)
    load(system.port, requests, clients, 1)
    server, workers = [system.process.pid], _workers(system)
    before = _counters(server), _counters(workers)
    begun = time.monotonic()
    point = load(system.port, requests, clients, seconds)
    spent = time.monotonic() - begun
    after = _counters(server), _counters(workers)
    count = max(1, point["n"])
    row = {"clients": clients, "req/s": point["rps"], "p50 µs": point["p50_ms"] * 1e3}
    for name, old, new in zip(("gateway", "worker"), before, after, strict=True):
        row[f"{name} CPU µs"] = (new["cpu"] - old["cpu"]) / count * 1e6
        row[f"{name} core %"] = (new["cpu"] - old["cpu"]) / spent * 100
        row[f"{name} switches"] = (new["switches"] - old["switches"]) / count
    timed = load(system.port, requests, clients, max(1, seconds - 1), timing=True)["timing"]
    row |= {f"{name} µs": value * 1e3 for name, value in sorted(timed.items())}
    return row


def loop_floor(seconds: int) -> list[dict[str, float]]:
    """Return the figures of a server that does nothing but read and write."""
    system = System("floor", "plain")
    command = [OUR_PYTHON, str(SERVERS / "loop_floor.py"), str(system.port)]
    rows = []
    try:
        system.spawn(command, environment(), WORK / "logs" / "floor.log")
        _wait_for_port(system.port)
        for clients in CLIENTS:
            before = cpu_seconds(system.pids())
            point = load(system.port, system.requests("A"), clients, seconds)
            cpu = (cpu_seconds(system.pids()) - before) / max(1, point["n"]) * 1e6
            rows.append({"clients": clients, "req/s": point["rps"],
                         "p50 µs": point["p50_ms"] * 1e3, "CPU µs": cpu})  # fmt: skip
    finally:
        system.stop()
    return rows


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the floor did not start")


def _counters(pids: list[int]) -> dict[str, float]:
    switches = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as status:
                lines = dict(line.split(":", 1) for line in status if ":" in line)
        except OSError:
            continue
        switches += sum(int(v) for k, v in lines.items() if k.endswith("_ctxt_switches"))
    return {"cpu": cpu_seconds(pids), "switches": switches}


def _table(rows: list[dict[str, float]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = []
    for name in names:
        cells = [f"{row[name]:>12,.1f}" if name in row else f"{'-':>12}" for row in rows]
        lines.append(f"  {name:<20}" + "".join(cells))
    return lines


def _parts_table(parts: dict[str, dict[int, float]]) -> list[str]:
    lines = [f"  {'part':<44}" + "".join(f"{count:>10}" for count in (1, 16, 64))]
    for name, times in parts.items():
        cells = [f"{times[n]:>10.2f}" if n in times else f"{'':>10}" for n in (1, 16, 64)]
        lines.append(f"  {name:<44}" + "".join(cells))
    return lines


if __name__ == "__main__":
    sys.exit(main())
