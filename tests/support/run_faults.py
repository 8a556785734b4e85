"""A flow for runs, the ledger process, and the killing of server, zygote and workers.

`kill_and_judge` is the whole of it: kill so often, then let the ledger judge what was accepted.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from ports import free_port

from penstock import Endpoint, deploy, model_type

#: Runs submitted each second.
RATE = 50.0

#: What is killed at random.
KINDS = ("server", "worker", "worker", "zygote")

#: The same with fewer servers, whose start is what takes time.
QUICK_KINDS = ("server", *["worker"] * 4, *["zygote"] * 2)

LEDGER = Path(__file__).parent.parent / "programs" / "run_ledger.py"


def put(server: Any, name: str = "flow", **functions: Callable[..., Any]) -> Endpoint:
    """Deploy a flow that answers with its input, on a server that may have printed no keys.

    Its model is a function: there is no library that every restart would import again.
    """

    def same(value: Any) -> Any:
        return value

    stage = (model_type.PYTHON, same, functions)
    return deploy([stage], name, server.keys["deploy"], server=server.url)


class Ledger:
    """A running `run_ledger.py`."""

    def __init__(self, server: Any, rate: float, seconds: float, patience_s: float = 300.0) -> None:
        command = [sys.executable, str(LEDGER), server.url, "default/flow", server.keys["predict"]]
        self._process = subprocess.Popen(
            [*command, str(rate), str(seconds), str(patience_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C ends the killing; the ledger judges then
        )

    def finish(self) -> dict[str, Any]:
        """Let it submit no more, and return its `verdict`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.verdict()

    def verdict(self) -> dict[str, Any]:
        """Let it submit to its time and follow what it accepted to the end; return its verdict."""
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def end(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Killer:
    """Kills random processes of a server, and starts the server again when it was the one.

    Args:
        start: Starts a server; `start(data, environment, port=…)`.
        live: The server as it runs now.
        seed: Of the choices.
        crash_database: Ends a database server without warning and starts it again.
        kinds: What is killed, each as often as it stands there.
    """

    def __init__(
        self,
        start: Callable[..., Any],
        live: Any,
        port: int,
        seed: int,
        crash_database: Callable[[], None] | None = None,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self.live = live
        self.kills: dict[str, int] = {"server": 0, "zygote": 0, "worker": 0}
        self._kinds = list(kinds)
        self._crash_database = crash_database
        if crash_database is not None:
            self.kills["database"] = 0
            self._kinds.append("database")
        self._start = start
        self._port = port
        self._random = random.Random(seed)
        self._paused_at = time.monotonic()

    def kill_one(self) -> None:
        """Kill one process without warning."""
        kind = self._random.choice(self._kinds)
        if kind == "server":
            self.restart()
        elif kind == "database" and self._crash_database is not None:
            self._crash_database()
        else:
            self._kill_some(self._workers if kind == "worker" else self._zygotes)
        self.kills[kind] += 1

    def _kill_some(self, victims: Callable[[], list[int]]) -> None:
        """Kill one of a kind, once there is one."""
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            if found := victims():
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(found), signal.SIGKILL)
                    return
            time.sleep(0.05)
        raise AssertionError("there is nothing to kill")

    def restart(self, environment: dict[str, str] | None = None) -> None:
        """Kill the server if it still runs, and start it on the same folder and port."""
        keys, data = self.live.keys, self.live.data
        self.live.kill()
        self.live = self._start(data, environment, port=self._port)
        self.live.keys = keys

    def _workers(self) -> list[int]:
        key = {"Authorization": self.live.keys["deploy"]}
        with suppress(httpx2.TransportError):
            found = httpx2.get(f"{self.live.url}/v1/default/flow", headers=key).json()
            return [r["pid"] for r in found.get("replicas", []) if r["pid"]]
        return []

    def _zygotes(self) -> list[int]:
        pid, found = self.live.pid, []
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found = [int(c) for c in children]
        return [c for c in found if "zygote" in _command(c)]

    def pause(self, shortest_s: float, longest_s: float) -> None:
        """Wait a random time since the last pause ended: the kills must land anywhere.

        The time that a kill takes, until the server is there again, counts; a little is always left
        for the system to work.
        """
        due = self._paused_at + self._random.uniform(shortest_s, longest_s)
        time.sleep(max(self._random.uniform(0.05, 0.5), due - time.monotonic()))
        self._paused_at = time.monotonic()


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def progress(text: str) -> None:
    """Show how far a long test is."""
    print(f"\r{text}", end="", flush=True)


def assert_clean(verdict: dict[str, Any]) -> None:
    """Every accepted run ended once, with the result of its own input."""
    assert verdict["ended"] == verdict["accepted"], verdict
    for fault in ("lost", "changed", "wrong", "twice"):
        assert verdict[fault] == [], verdict
    # A run may have been inside a worker each time it was killed; then it has failed, once.
    assert set(verdict["errors"]) <= {"worker_died"}, verdict


@dataclass(frozen=True)
class Plan:
    """How often and how fast to kill.

    Attributes:
        kills: How many.
        pause_s: Shortest and longest time between two.
        kinds: See `Killer`.
        most_s: Seconds after which no more is killed, however many it were.
    """

    kills: int
    pause_s: tuple[float, float]
    kinds: Sequence[str] = KINDS
    most_s: float = math.inf


def kill_and_judge(
    start_server: Callable[..., Any],
    keep: Callable[[Ledger], Ledger],
    plan: Plan,
    crash_database: Callable[[], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Kill by a plan under submits, and have the ledger judge.

    It judges however the killing ends: by the time limit, by Ctrl-C or SIGTERM, or because
    something did not come back.
    """
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    port = free_port()
    live = start_server(port=port)
    put(live)
    killer = Killer(start_server, live, port, seed, crash_database, plan.kinds)
    ledger = keep(Ledger(live, RATE, 24 * 3600))
    trouble: AssertionError | None = None
    try:
        with _told_to_end() as told:
            _kill(killer, plan, told, say)
    except AssertionError as error:
        trouble = error
        if killer.live.ended:
            killer.restart()
    say(f"{sum(killer.kills.values())} of {plan.kills} kills; the ledger judges")
    verdict = ledger.finish()
    print(f"\n{ {**verdict, 'kills': killer.kills} }", flush=True)
    if trouble is not None:
        raise trouble
    assert verdict["accepted"] > sum(killer.kills.values())
    assert_clean(verdict)


def _kill(killer: Killer, plan: Plan, told: threading.Event, say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    for number in range(1, plan.kills + 1):
        if told.is_set() or time.monotonic() - begun > plan.most_s:
            return
        killer.pause(*plan.pause_s)
        killer.kill_one()
        say(f"{number} of {plan.kills} kills in {time.monotonic() - begun:.0f} s: {killer.kills}")


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """Note Ctrl-C and SIGTERM for when the kill in hand is done; the second one ends it all."""
    told = threading.Event()

    def note(*_: object) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
