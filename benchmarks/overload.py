"""Overload: twice the peak for some seconds, then half of it. Prints what callers got.

    python benchmarks/overload.py [--seconds 20] [--queue N] [--model-ms 5]

Starts a server of its own. The model takes a fixed time and answers one call at a time, so that the
model, not this program, is what is overloaded. Peak: what a closed loop of 16 clients gets. The
promise: at twice the peak goodput is 90 % of it or more, the rest is refused within 50 ms with
`Retry-After`, and 5 s after the overload calls are as quick as before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from machine import describe, lines
from open_loop import Outcome, closed_loop, drive

from penstock import deploy, model_type


def start(folder: str) -> tuple[subprocess.Popen[str], str, dict[str, str]]:
    """Start a server and return its process, address and keys."""
    environment = {**os.environ, "PENSTOCK_PROFILE": f"{folder}/profile.json"}
    command = [sys.executable, "-m", "penstock.cli.main", "serve", "--port=0"]
    server = subprocess.Popen(
        [*command, f"--data={folder}/data"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout is not None
    url, keys = "", {}
    for line in server.stdout:
        if line.startswith("Penstock is ready at"):
            url = line.split()[-1]
        elif found := re.match(r"\s+(admin|deploy|predict)\s+(pk_\S+)$", line):
            keys[found[1]] = found[2]
        elif line.startswith("Press"):
            break
    return server, url, keys


def taking(seconds: float):
    """Return a model that takes a time; it sleeps, so that the machine's load is no matter."""

    def model(value):
        import time

        time.sleep(seconds)
        return value

    return model


def show(name: str, load: Outcome, seconds: float) -> None:
    """Print one line of figures."""
    good = sum(s.status == 200 for s in load.samples)
    print(
        f"{name:<14} {len(load.samples) / seconds:7.0f}/s sent  {good / seconds:7.0f}/s good  "
        f"p50 {1e3 * load.percentile(0.5):7.1f} ms  p99 {1e3 * load.percentile(0.99):7.1f} ms  "
        f"{load.statuses()}"
    )


async def measure(url: str, key: str, seconds: float) -> None:
    """Find the peak, overload, let it recover; print the figures."""
    peak = await closed_loop(url, key, 16, 5.0)
    print(f"peak           {peak:.0f}/s (closed loop, 16 clients)")
    before = await drive(url, key, peak / 2, lambda now: now >= 5)
    show("half, before", before, 5)
    normal = before.percentile(0.5)

    over = asyncio.create_task(drive(url, key, 2 * peak, lambda now: now >= seconds))
    await asyncio.sleep(seconds)
    after = await drive(url, key, peak / 2, lambda now: now >= 15)
    load = await over
    show("twice", load, seconds)
    show("half, after", after, 15)
    begin = seconds / 4  # the queue is full by then
    good = sum(s.status == 200 and begin <= s.due + s.took_s < seconds for s in load.samples)
    good /= seconds - begin
    print(f"goodput        {100 * good / peak:.0f} % of the peak")
    for q in (0.5, 0.99):
        took = 1e3 * load.percentile(q, 429)
        print(
            f"refused in     {took:.1f} ms (p{100 * q:.0f}), all with Retry-After: "
            f"{all(s.retry_after for s in load.samples if s.status == 429)}"
        )
    slow = [s.due for s in after.samples if s.status != 200 or s.took_s > 3 * normal + 0.02]
    print(f"recovered in   {max(slow, default=0.0):.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the overload")
    parser.add_argument("--queue", type=int, default=None, help="max_queue of the deployment")
    parser.add_argument("--model-ms", type=float, default=5.0, help="time of one model call")
    given = parser.parse_args()
    print("\n".join(lines(describe())))
    options = {} if given.queue is None else {"max_queue": given.queue}
    with tempfile.TemporaryDirectory(prefix="penstock-overload-") as folder:
        server, url, keys = start(folder)
        try:
            endpoint = deploy(
                [(model_type.PYTHON, taking(given.model_ms / 1e3))],
                "overload",
                keys["deploy"],
                server=url,
                max_batch=1,
                quiet=True,
                **options,
            )
            asyncio.run(measure(str(endpoint), keys["predict"], given.seconds))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


if __name__ == "__main__":
    main()
