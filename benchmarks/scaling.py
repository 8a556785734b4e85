"""Replicas by need, templates and sleep, on this machine: about a minute.

python benchmarks/scaling.py
"""

import http.client
import json
import os
import signal
import statistics
import sys
import time
from typing import Any

import machine
from cases import read_answer, stored
from load import load
from models import ensure_models
from ours import Penstock
from processes import memory_mb
from validate import same, send

#: Times that a wake, a replacement and a deploy are repeated.
TIMES = 15

#: Seconds of a load.
SECONDS = 4


def call(system: Penstock, method: str, path: str, body: Any = None) -> Any:
    """Return the JSON answer to a control request."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=60)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, system.headers)
        response = connection.getresponse()
        raw = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {raw[:300]!r}")
        return json.loads(raw) if raw else None
    finally:
        connection.close()


def shown(system: Penstock, name: str) -> dict[str, Any]:
    """Return a deployment as the server shows it."""
    found: dict[str, Any] = call(system, "GET", f"/v1/default/{name}")
    return found


def wait_for_replicas(system: Penstock, name: str, count: int) -> list[int]:
    """Return the process ids of a deployment's replicas once there are `count` ready ones."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        replicas = shown(system, name)["replicas"]
        if len(replicas) == count and all(r["state"] == "ready" for r in replicas):
            return [r["pid"] for r in replicas]
        time.sleep(0.02)
    raise RuntimeError(f"{name} does not have {count} replicas")


def spread(what: str, taken_s: list[float]) -> str:
    """Return a line with the median and the slowest of some times."""
    ms = sorted(1e3 * taken for taken in taken_s)
    return f"{what}: median {statistics.median(ms):.0f} ms, slowest {ms[-1]:.0f} ms of {len(ms)}"


def deploys(system: Penstock) -> str:
    """Time deploys of the torch→xgboost flow on a warm server."""
    system.deploy("ab")
    return spread("deploy", [system.deploy("ab")["seconds"] for _ in range(TIMES)])


def wakes(system: Penstock) -> str:
    """Time the first answer of the flow after it slept."""
    call(system, "PATCH", "/v1/default/bench-ab", {"min_replicas": 0, "cooldown_s": 0.1})
    request, wanted = system.requests("A")[0], stored("answers.json")["A"]
    taken = []
    for _ in range(TIMES):
        wait_for_replicas(system, "bench-ab", 0)
        time.sleep(0.1)
        begun = time.perf_counter()
        raw = send(system.port, request)
        taken.append(time.perf_counter() - begun)
        if not same(read_answer(raw), wanted):
            raise RuntimeError("a woken deployment answers wrongly")
    call(system, "PATCH", "/v1/default/bench-ab", {"min_replicas": 1, "cooldown_s": None})
    return spread("wake from zero to the first answer", taken)


def replacements(system: Penstock) -> str:
    """Kill the replica and time the next good answer; the template has the version loaded."""
    request = system.requests("A")[0]
    taken = []
    for _ in range(TIMES):
        (pid,) = wait_for_replicas(system, "bench-ab", 1)
        send(system.port, request)
        os.kill(pid, signal.SIGKILL)
        begun = time.perf_counter()
        while True:
            try:
                send(system.port, request)
                break
            except OSError:
                time.sleep(0.0005)
        taken.append(time.perf_counter() - begun)
    return spread("from kill -9 to the next good answer", taken)


def memory(system: Penstock) -> list[str]:
    """Have four replicas work and read what each has to itself, and the template."""
    call(system, "PATCH", "/v1/default/bench-ab", {"min_replicas": 4, "max_replicas": 4})
    pids = wait_for_replicas(system, "bench-ab", 4)
    idle = [memory_mb([pid])["uss"] for pid in pids]
    load(system.port, system.requests("A"), 32, 2)
    worked = [memory_mb([pid])["uss"] for pid in pids]
    template = shown(system, "bench-ab")["scaling"]["template"]
    lines = [
        f"private memory of 4 replicas after a load: {', '.join(f'{mb:.1f}' for mb in worked)} MB "
        f"(the younger before it: {', '.join(f'{mb:.1f}' for mb in idle[1:])})",
        f"private memory of the template: {memory_mb([template['pid']])['uss']:.1f} MB; "
        f"it loaded in {template['load_ms']:.0f} ms",
    ]
    call(system, "PATCH", "/v1/default/bench-ab", {"min_replicas": None, "max_replicas": None})
    return lines


def compared(system: Penstock, case: str, flow: str, clients: int) -> str:
    """Load a flow with one replica and with as many as help, in turn."""
    name = f"bench-{flow}"
    rates: dict[str, list[float]] = {"one": [], "auto": []}
    request = system.requests(case)
    why = ""
    for _ in range(3):
        for how, limits in (("one", (1, 1)), ("auto", (None, None))):
            fields = {"min_replicas": limits[0], "max_replicas": limits[1]}
            call(system, "PATCH", f"/v1/default/{name}", fields)
            load(system.port, request, clients, 2)
            rates[how].append(load(system.port, request, clients, SECONDS)["rps"])
        why = shown(system, name)["scaling"]["why"] or "one replica is enough"
    one, auto = (statistics.median(rates[how]) for how in ("one", "auto"))
    return f"{case}, {clients} clients: {one:,.0f}/s with 1, {auto:,.0f}/s with auto ({why})"


def main() -> int:
    """Print the figures."""
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    system = Penstock().start()
    try:
        for measure in (deploys, replacements, wakes):
            print(measure(system), flush=True)
        print(*memory(system), sep="\n", flush=True)
        system.deploy("ab")
        system.deploy("c")
        system.end_client()
        for case, flow, clients in (
            ("C", "c", 16),
            ("C", "c", 64),
            ("A", "ab", 16),
            ("A", "ab", 64),
        ):
            print(compared(system, case, flow, clients), flush=True)
    finally:
        system.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
