"""A running system under test: a peer's server, or (in `ours`) Penstock."""

import os
import subprocess
import time
import uuid
from pathlib import Path

from cases import Request, requests_of
from peers import PEERS
from places import SERVERS, VENVS, WORK, environment, python_of
from processes import end, family, free_port
from validate import send


class System:
    """A started server and all that is asked of it.

    Attributes:
        name: As in the tables.
        port: Where it listens on 127.0.0.1.
        cold_s: Seconds from its start to its first good answer to case A.
        headers: Fields that every request to it carries.
        style: How its requests look; see `cases`.
    """

    name: str
    style: str
    headers: dict[str, str]
    cold_s: float
    port: int

    def __init__(self, name: str, style: str, headers: dict[str, str] | None = None) -> None:
        self.name = name
        self.style = style
        self.headers = headers or {}
        self.port = free_port()
        self.cold_s = 0.0
        self.tag = uuid.uuid4().hex
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, command: list[str], env: dict[str, str], log: Path) -> None:
        """Start the server's first process."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                env={**env, "PENSTOCK_BENCH_TAG": self.tag},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=str(WORK),
            )

    def requests(self, case: str) -> list[Request]:
        """Return the requests of a case with this system's fields."""
        found = requests_of(self.style, case)
        return [r._replace(headers={**r.headers, **self.headers}) for r in found]

    def wait_for(self, request: Request, seconds: float) -> None:
        """Return when the request is answered.

        Raises:
            RuntimeError: The process ended, or the time is over.
        """
        until, last = time.monotonic() + seconds, None
        while time.monotonic() < until:
            try:
                send(self.port, request, 5)
                return
            except OSError as error:
                last = error
            self.check_alive()
            time.sleep(0.02)
        raise RuntimeError(f"no answer in {seconds:.0f} s: {last}")

    def check_alive(self) -> None:
        """Raise RuntimeError if the first process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"ended with {self.process.returncode} before it answered")

    def pids(self) -> list[int]:
        """Return the live processes of the system."""
        return family(self.process.pid, self.tag) if self.process is not None else []

    def stop(self) -> None:
        """End every process of the system."""
        if self.process is not None:
            end(self.process.pid, self.tag)
            self.process = None


def start_peer(name: str, boot_s: float) -> System:
    """Start a peer and return it when it has answered case A."""
    peer = PEERS[name]
    system = System(name, peer.style)
    begun = time.perf_counter()
    binaries = str(VENVS / peer.venv / "bin")
    env = environment(PATH=binaries + os.pathsep + os.environ.get("PATH", ""))
    command = [str(python_of(peer.venv)), str(SERVERS / peer.file), str(system.port)]
    try:
        system.spawn([*command, *peer.arguments], env, WORK / "logs" / f"{name}.log")
        system.wait_for(system.requests("A")[0], boot_s)
    except BaseException:
        system.stop()
        raise
    system.cold_s = time.perf_counter() - begun
    return system
