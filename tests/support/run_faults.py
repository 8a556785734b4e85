"""A flow for runs, the ledger process, and the killing of server, zygote and workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from penstock import Endpoint, deploy, model_type

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
    """

    def __init__(
        self,
        start: Callable[..., Any],
        live: Any,
        port: int,
        seed: int,
        crash_database: Callable[[], None] | None = None,
    ) -> None:
        self.live = live
        self.kills: dict[str, int] = {"server": 0, "zygote": 0, "worker": 0}
        self._kinds = ["server", "worker", "worker", "zygote"]
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
