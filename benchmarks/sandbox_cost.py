"""What the sandbox costs: milliseconds at the start of a replica, requests a second afterwards.

  python benchmarks/sandbox_cost.py            about two minutes
  python benchmarks/sandbox_cost.py --quick    half a minute

Both tiers run at the same time and are asked in turns, so that the ratio does not depend on what
else the machine does. Processor time depends on it less than the clock does, and the least of many
short rounds least of all. The start is measured inside the new process, around what it does to
confine itself, and from outside: from the order until the replica is ready.
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

TIERS = ("process", "guarded")
BODY = json.dumps([[0.5] * 16] * 4)


def same(value: Any) -> Any:
    return value


class Server:
    """One server with one deployment, and one connection to it."""

    def __init__(self, tier: str, folder: Path) -> None:
        command = [sys.executable, "-m", "penstock.cli.main", "serve", "--port=0"]
        environment = {**os.environ, "PENSTOCK_SANDBOX": tier, "PYTHONUNBUFFERED": "1"}
        environment["PENSTOCK_PROFILE"] = str(folder / f"{tier}.json")
        self._process = subprocess.Popen(
            [*command, f"--data={folder / tier}"],
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

    def rate(self, seconds: float) -> float:
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            self.call()
            count += 1
        return count / (time.perf_counter() - begun)

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rounds, seconds, starts = (6, 1.0, 10) if given.quick else (30, 1.5, 40)
    whole = statistics.median(confining_ms(False) for _ in range(starts))
    forked = statistics.median(confining_ms(True) for _ in range(starts))
    print(
        f"to confine itself: {whole:.2f} ms a process, {forked:.2f} ms one forked from a template"
    )
    with tempfile.TemporaryDirectory() as folder:
        servers = {tier: Server(tier, Path(folder)) for tier in TIERS}
        try:
            for server in servers.values():
                server.rate(1.0)
            ratios, rates = [], {tier: [] for tier in TIERS}
            for number in range(rounds):
                for tier in TIERS if number % 2 else TIERS[::-1]:
                    rates[tier].append(servers[tier].rate(seconds))
                ratios.append(rates["guarded"][-1] / rates["process"][-1])
            work = {tier: [] for tier in TIERS}
            for number in range(rounds * 5):
                for tier in TIERS if number % 2 else TIERS[::-1]:
                    work[tier].append(servers[tier].work_ms(100))
            took = {tier: [] for tier in TIERS}
            for number in range(starts):
                for tier in TIERS if number % 2 else TIERS[::-1]:
                    took[tier].append(servers[tier].start_ms())
        finally:
            for server in servers.values():
                server.stop()
    for tier in TIERS:
        print(
            f"{tier:<8} {statistics.median(rates[tier]):7.0f} requests/s one after the other, "
            f"{min(work[tier]):.3f} ms of processor time each, "
            f"a replica ready after {statistics.median(took[tier]):.1f} ms"
        )
    pairs = zip(took["guarded"], took["process"], strict=True)
    more = statistics.median(guarded - process for guarded, process in pairs)
    ratio = statistics.median(ratios)
    busy = min(work["guarded"]) / min(work["process"])
    print(
        f"guarded / process: {ratio:.3f} of the requests, {busy:.3f} of the processor time, "
        f"{more:+.1f} ms a start"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
