"""Fixtures for every test: real servers, as their users start them.

`server` is one server for the whole run; tests choose names of their own on it. `start_server`
starts more, for tests that stop, kill or restart them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from postgres_cluster import Cluster, programs

# The same cases in every run, however slow the machine is.
hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None)
hypothesis.settings.load_profile("seeded")

#: Seconds a server gets to become ready, and to end.
DEADLINE_S = 180.0

_KEY = re.compile(r"^\s+(admin|deploy|predict)\s+(pk_\S+)$")


#: Folders whose files take long, because they start servers. They are begun first: a long file that
#: is begun last leaves the other workers of the run with nothing to do.
_LONG = ("acceptance", "programs", "integration")


def pytest_configure(config: pytest.Config) -> None:
    """Have files begun in the order of collection, not by how many tests they have."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; their order among themselves stays."""
    items.sort(key=lambda item: _folder(item) not in _LONG)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


class LiveServer:
    """A `penstock serve` process.

    Attributes:
        url: Its address.
        keys: Keys by scope: admin, deploy, predict. Only those that the server printed.
        data: Its data folder.
        pid: Its process id.
    """

    def __init__(self, data: Path, options: dict[str, Any], environment: dict[str, str]) -> None:
        self.data = data
        self.url = ""
        self.keys: dict[str, str] = {}
        arguments = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
        command = [sys.executable, "-m", "penstock.cli.main", "serve", f"--data={data}"]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        profile = {"PENSTOCK_PROFILE": str(data.parent / f"{data.name}-profile.json")}
        # Functions of tests talk to their tests through files.
        shared = {"PENSTOCK_SANDBOX_WRITE": str(data.parent.parent)}
        self._process = subprocess.Popen(
            [*command, "--port=0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, **profile, **shared, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.profile = Path(profile["PENSTOCK_PROFILE"])
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                with self._changed:
                    self._take(line.rstrip("\n"))
                    self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._changed.notify_all()

    def _take(self, line: str) -> None:
        self.lines.append(line)
        found = _KEY.match(line)
        if found:
            self.keys[found[1]] = found[2]
        if line.startswith("Penstock is ready at "):
            self.url = line.rsplit(maxsplit=1)[-1]

    def wait_for(self, holds: Callable[[LiveServer], Any]) -> LiveServer:
        """Return once `holds(self)`, looked at after each printed line; fail after a deadline."""
        with self._changed:
            done = self._changed.wait_for(lambda: holds(self) or self.ended, DEADLINE_S)
            assert done, f"not within {DEADLINE_S} s: {self.log}"
            assert holds(self), f"the server ended with {self._process.poll()}: {self.log}"
        return self

    @property
    def ended(self) -> bool:
        """Whether the process ended."""
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        """Everything printed so far, both streams."""
        return "\n".join(self.lines)

    def signal(self, number: int) -> None:
        """Send a signal to the server process."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status once the process ended and everything it printed was read."""
        status = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return status

    def stop(self) -> int:
        """Stop as a service manager would; return the exit status."""
        if not self.ended:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the server process without warning."""
        self._process.kill()
        self.wait()


def _launch(data: Path, environment: dict[str, str] | None, options: dict[str, Any]) -> LiveServer:
    server = LiveServer(data, options, environment or {})
    try:
        return server.wait_for(lambda s: "Press Ctrl-C to stop." in s.lines)
    except BaseException:
        server.kill()
        raise


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, package_cache: Path) -> Iterator[LiveServer]:
    """One server for the whole run: `url`, `keys`, `data`, `pid`, `log`."""
    cached = {"PENSTOCK_PACKAGE_CACHE": str(package_cache)}
    live = _launch(tmp_path_factory.mktemp("server") / "data", cached, {})
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server for the whole run; tests make databases of their own on it."""
    folder = programs()
    if folder is None:
        pytest.skip("initdb and pg_ctl are not installed (Debian: postgresql)")
    cluster = Cluster(folder)
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def package_cache() -> Path:
    """Where servers of tests keep downloaded packages, from one run of the tests to the next."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "penstock-tests" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def launch_server() -> Callable[..., LiveServer]:
    """Start a server that the caller stops: `launch_server(data, environment)`."""

    def launch(data: Path, environment: dict[str, str] | None = None) -> LiveServer:
        return _launch(data, environment, {})

    return launch


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """Start further servers: `start_server(data=…, environment={…}, drain_s=…)`."""
    started: list[LiveServer] = []

    def start(
        data: Path | None = None, environment: dict[str, str] | None = None, **options: Any
    ) -> LiveServer:
        live = _launch(data or tmp_path / "data", environment, options)
        started.append(live)
        return live

    yield start
    for live in started:
        if not live.ended:
            live.kill()
