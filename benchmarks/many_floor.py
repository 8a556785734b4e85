"""Case F without any server: processes that hold the flow of A and answer one call at a time.

  python benchmarks/many_floor.py [--processes 1,2,16,64,200] [--seconds 3] [--clients 64]

This process has `--clients` calls in hand, each sent to a process drawn at random over a socket
pair; a process reads one call, answers it with the flow as a plain function, and sleeps when it has
none. No HTTP, no key, no queue, nothing recorded: what is left is the model call alone, two
switches between processes, and caches that hold what another process needed last. A server that
keeps deployments in processes of their own and joins nothing cannot answer more calls a second.

Printed for each number of processes: calls a second, CPU microseconds a call in the processes and
in this one, and the calls a second that the CPU time alone would allow on all cores.
"""

import argparse
import json
import os
import random
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "servers"))

_MESSAGE = 4096
_WARM_UP_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", default="1,2,16,64,200")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    from models import ensure_models

    ensure_models()
    import flow

    tabular = flow.Tabular()
    row = (flow.WORK / "a.json").read_bytes()
    cores = len(os.sched_getaffinity(0))
    print(f"{'processes':>10}{'calls/s':>10}{'us each':>9}{'us here':>9}{'most/s':>9}")
    for count in map(int, given.processes.split(",")):
        rate, each, here = measure(tabular, row, count, given.clients, given.seconds)
        most = cores * 1e6 / (each + here)
        print(f"{count:>10}{rate:>10,.0f}{each:>9.0f}{here:>9.0f}{most:>9,.0f}", flush=True)
    return 0


def measure(
    tabular: Any, row: bytes, count: int, clients: int, seconds: float
) -> tuple[float, float, float]:
    """Return calls a second, and CPU microseconds a call in the processes and in this one."""
    ends = [start(tabular) for _ in range(count)]
    draw = random.Random(count)
    try:
        exchange(ends, row, clients, _WARM_UP_S, draw)
        before, own, begun = sum(map(spent_ns, ends)), time.process_time_ns(), time.perf_counter()
        calls = exchange(ends, row, clients, seconds, draw)
        took, own = time.perf_counter() - begun, time.process_time_ns() - own
        each = sum(map(spent_ns, ends)) - before
    finally:
        for end in ends:
            end.close()
        for _ in ends:
            os.wait()
    return calls / took, each / calls / 1e3, own / calls / 1e3


def start(tabular: Any) -> socket.socket:
    """Fork a process that answers; return our end of its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    try:
        answer(tabular, theirs)
    finally:
        os._exit(0)


def answer(tabular: Any, theirs: socket.socket) -> None:
    """Answer until the other end closes: a row with its result, nothing with the CPU time."""
    while message := theirs.recv(_MESSAGE):
        if message == b"?":
            theirs.send(b"%d" % time.process_time_ns())
        else:
            theirs.send(json.dumps(tabular.one(json.loads(message))).encode())


def spent_ns(end: socket.socket) -> int:
    """Ask a process that has no call how much CPU time it has used."""
    end.send(b"?")
    return int(end.recv(_MESSAGE))


def exchange(
    ends: list[socket.socket], row: bytes, clients: int, seconds: float, draw: random.Random
) -> int:
    """Keep `clients` calls in hand for so long; return how many were answered."""
    selector = selectors.EpollSelector()
    for end in ends:
        selector.register(end, selectors.EVENT_READ)
    until, calls, in_hand = time.perf_counter() + seconds, 0, 0
    for _ in range(clients):
        draw.choice(ends).send(row)
        in_hand += 1
    while in_hand:
        for key, _ in selector.select():
            if b'"label"' not in key.fileobj.recv(_MESSAGE):  # type: ignore[union-attr]
                raise RuntimeError("a process answers wrongly")
            calls, in_hand = calls + 1, in_hand - 1
            if time.perf_counter() < until:
                draw.choice(ends).send(row)
                in_hand += 1
    selector.close()
    return calls


if __name__ == "__main__":
    sys.exit(main())
