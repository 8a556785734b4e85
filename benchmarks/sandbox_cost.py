"""What the sandbox costs: milliseconds at the start of a replica, requests a second afterwards.

  python benchmarks/sandbox_cost.py            about three minutes
  python benchmarks/sandbox_cost.py --quick    one minute

Three servers run at the same time and are asked in turns, in many short rounds: one guarded, and
two in the tier process, so that the second one shows how much of a ratio is chance. Every figure is
a median over rounds, and so is every ratio; what stands in brackets is where that median lies with
95 % certainty. Processor time depends less than the clock on what else the machine does. The start
is measured inside the new process, around what it does to confine itself, and from outside: from
the order until the replica is ready.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from penstock import deploy, model_type
from penstock.codec.sandbox import GUARDED, Sandbox
from penstock.engine.sandbox import confine

TIERS = {"process": "process", "process again": "process", "guarded": "guarded"}
BODY = json.dumps([[0.5] * 16] * 4)


def same(value: Any) -> Any:
    return value


class Server:
    """One server with one deployment, and one connection to it."""

    def __init__(self, name: str, folder: Path) -> None:
        folder = folder / name.replace(" ", "-")
        command = [sys.executable, "-m", "penstock.cli.main", "serve", "--port=0"]
        environment = {**os.environ, "PENSTOCK_SANDBOX": TIERS[name], "PYTHONUNBUFFERED": "1"}
        environment["PENSTOCK_PROFILE"] = f"{folder}.json"
        self._process = subprocess.Popen(
            [*command, f"--data={folder}"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = ""
        while "Press Ctrl-C" not in said:
            said += self._process.stdout.readline()
        self.url = re.search(r"ready at (\S+)", said)[1]
        self.key = re.search(r"deploy +(pk_\S+)", said)[1]
        deploy([(model_type.PYTHON, same)], "same", self.key, server=self.url, quiet=True)
        self._connection = http.client.HTTPConnection(self.url.partition("//")[2])

    def call(self) -> None:
        self._connection.request(
            "POST", "/v1/default/same/predict", BODY, {"Authorization": self.key}
        )
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 200

    def work_ms(self, calls: int) -> float:
        """Return the processor time of server and worker for each of so many calls."""
        pids = (self._process.pid, self.replica()["pid"])
        before = sum(map(cpu_ms, pids))
        for _ in range(calls):
            self.call()
        return (sum(map(cpu_ms, pids)) - before) / calls

    def rate(self, calls: int) -> float:
        """Return the calls a second of one caller, by the middle one of so many calls."""
        took = []
        for _ in range(calls):
            begun = time.perf_counter()
            self.call()
            took.append(time.perf_counter() - begun)
        return 1 / statistics.median(took)

    def replica(self) -> Any:
        self._connection.request("GET", "/v1/default/same", headers={"Authorization": self.key})
        return json.loads(self._connection.getresponse().read())["replicas"][0]

    def start_ms(self) -> float:
        """Kill the replica; return how long its replacement took to be ready."""
        old = self.replica()["pid"]
        os.kill(old, 9)
        while True:
            found = self.replica()
            if found["pid"] not in {0, old} and found["state"] == "ready":
                self.call()
                return found["facts"]["start_ms"]
            time.sleep(0.002)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def cpu_ms(pid: int) -> float:
    """Return the processor time a process has used, in steps of the scheduler's own clock."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def confining_ms(forked: bool) -> float:
    """Return how long a new process takes to confine itself, whole or after its template."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as home:
        pid = os.fork()
        if not pid:
            wanted = Sandbox(GUARDED, home)
            confine.look_ahead()
            begun = time.perf_counter()
            confine.confine(wanted, home, [])
            if forked:
                begun = time.perf_counter()
                confine.narrow(wanted, home)
            os.write(writer, repr((time.perf_counter() - begun) * 1e3).encode())
            os._exit(0)
        os.close(writer)
        took = float(os.read(reader, 100))
        os.close(reader)
        os.waitpid(pid, 0)
    return took


def in_turns(servers: dict[str, Server], rounds: int, measure: Any) -> dict[str, list[float]]:
    """Return what `measure` says of each server in each round; each round begins with another."""
    found: dict[str, list[float]] = {name: [] for name in servers}
    order = list(servers)
    for number in range(rounds):
        for name in order[number % 3 :] + order[: number % 3]:
            found[name].append(measure(servers[name]))
    return found


def middle(values: list[float]) -> tuple[float, float, float]:
    """Return the median, and between which values it lies with 95 % certainty."""
    values = sorted(values)
    away = 0.98 * len(values) ** 0.5
    low, high = int(len(values) / 2 - away), int(len(values) / 2 + away)
    return statistics.median(values), values[max(low, 0)], values[min(high, len(values) - 1)]


def ratios(found: dict[str, list[float]], name: str) -> list[float]:
    return [a / b for a, b in zip(found[name], found["process"], strict=True)]


def share(found: dict[str, list[float]], name: str) -> str:
    return "{:+.1%} ({:+.1%} to {:+.1%})".format(*(r - 1 for r in middle(ratios(found, name))))


def more(found: dict[str, list[float]], name: str) -> str:
    pairs = zip(found[name], found["process"], strict=True)
    return "{:+.2f} ms ({:+.2f} to {:+.2f})".format(*middle([a - b for a, b in pairs]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rounds, starts = (40, 20) if given.quick else (120, 40)
    whole = statistics.median(confining_ms(False) for _ in range(starts))
    forked = statistics.median(confining_ms(True) for _ in range(starts))
    print(
        f"to confine itself: {whole:.2f} ms a process, {forked:.2f} ms one forked from a template",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        servers: dict[str, Server] = {}
        try:
            for name in TIERS:
                servers[name] = Server(name, Path(folder))
                servers[name].rate(500)
            rate = in_turns(servers, rounds * 2, lambda server: server.rate(40))
            work = in_turns(servers, rounds, lambda server: server.work_ms(60))
            start = in_turns(servers, starts, lambda server: server.start_ms())
        finally:
            for server in servers.values():
                server.stop()
    for name in TIERS:
        print(
            f"{name:<14}{statistics.median(rate[name]):7.0f} requests/s one after the other, "
            f"{statistics.median(work[name]):.3f} ms of processor time each, "
            f"a replica ready after {statistics.median(start[name]):.1f} ms"
        )
    for name in ("process again", "guarded"):
        print(
            f"{name} beside process: throughput {share(rate, name)}, "
            f"processor time {share(work, name)}, a start {more(start, name)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
