"""Processes of a system under test: which they are, their memory, their CPU time, their end."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def family(root: int, tag: str) -> list[int]:
    """Return every live process that descends from `root` or carries `tag` in its environment."""
    parents, tagged = {}, {root}
    mark = f"PENSTOCK_BENCH_TAG={tag}".encode()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if mark in (path / "environ").read_bytes():
                tagged.add(int(path.name))
        except OSError:
            continue
    found = {pid for pid in tagged if pid in parents}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def memory_mb(pids: list[int]) -> dict[str, float]:
    """Return the sums over processes in MB: `rss`, `pss` (shared pages once), `uss` (private)."""
    sums = {"rss": 0, "pss": 0, "uss": 0}
    names = {"Rss": "rss", "Pss": "pss", "Private_Clean": "uss", "Private_Dirty": "uss"}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            name, _, rest = line.partition(":")
            if name in names:
                sums[names[name]] += int(rest.split()[0])
    return {name: kib / 1024 for name, kib in sums.items()}


def cpu_seconds(pids: list[int]) -> float:
    """Return the user and system time the processes have used."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def end(root: int, tag: str, patience_s: float = 6.0) -> None:
    """End a system: SIGTERM to its first process, then to what is left, then SIGKILL."""
    for number, targets in (
        (signal.SIGTERM, [root]),
        (signal.SIGTERM, None),
        (signal.SIGKILL, None),
    ):
        left = family(root, tag)
        for pid in targets or left:
            try:
                os.kill(pid, number)
            except OSError:
                continue
        if _gone(root, tag, patience_s if targets else 2.0):
            return


def _gone(root: int, tag: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(root, os.WNOHANG)
        if not family(root, tag):
            return True
        time.sleep(0.05)
    return False


def free_port() -> int:
    """Return a port with two free neighbours, which some peers open too."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            for neighbour in (port, port + 1, port + 2):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", neighbour))
        except (OSError, OverflowError):
            continue
        return port
    raise RuntimeError("no free port")
