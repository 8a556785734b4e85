"""Older kernels know less of Landlock: what each version keeps from a process, and who says so.

Each attempt is made in a child that was confined as a kernel with that version would have done it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.codec.sandbox import GUARDED, PROCESS, Sandbox
from penstock.core.errors import SandboxUnavailable
from penstock.engine.sandbox import confine, kernel, landlock, seccomp
from penstock.engine.sandbox.confinement import Confinement, examine
from penstock.engine.sandbox.landlock import Rules
from penstock.engine.sandbox.options import SandboxOptions

pytestmark = pytest.mark.skipif(
    not (landlock.version() and seccomp.available()), reason="needs Landlock and seccomp"
)

#: The first version that keeps a process from it; what is not here every version does.
STOPPED_SINCE = {"shorten": 3, "connect by TCP": 4, "connect to an abstract socket": 6, "signal": 6}

#: The same of a confined worker: the filter of system calls makes up for much.
WORKER_STOPPED_SINCE = {"signal": 6}

VERSIONS = range(1, max(landlock.version(), 1) + 1)


@dataclass
class Place:
    """A folder of a process's own, a file beside it, and sockets that wait."""

    own: Path
    other: Path
    port: int
    abstract: str

    def attempts(self) -> dict[str, Callable[[], object]]:
        return {
            "read": lambda: self.other.read_text(),
            "list": lambda: os.listdir(self.other.parent),
            "write": lambda: self.other.write_text("mine"),
            "make": lambda: (self.other.parent / "made").touch(),
            "remove": lambda: self.other.unlink(),
            "shorten": lambda: os.truncate(self.other, 1),
            "connect by TCP": lambda: socket.create_connection(("127.0.0.1", self.port), 5).close(),
            "connect to an abstract socket": self._connect,
            "signal": lambda: os.kill(os.getppid(), 0),
        }

    def _connect(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.abstract)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    own, other = tmp_path / "own", tmp_path / "other" / "file"
    for folder in (own, other.parent):
        folder.mkdir()
    other.write_text("not yours")
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = f"\0penstock-test-{os.getpid()}-{tmp_path.name}"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(abstract)
        unix.listen()
        yield Place(own, other, tcp.getsockname()[1], abstract)


def in_a_child(work: Callable[[], object]) -> object:
    """Return what `work` returns in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            said = json.dumps(work())
        except BaseException as error:
            said = json.dumps(f"{type(error).__name__}: {error}")
        os.write(writer, said.encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def tried(attempts: dict[str, Callable[[], object]]) -> dict[str, str]:
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = "open"
        except OSError as error:
            found[name] = error.strerror or "refused"
    return found


def still_open(found: object) -> set[str]:
    assert isinstance(found, dict), found
    return {name for name, outcome in found.items() if outcome == "open"}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_stops_what_it_knows_of(place: Place, version: int) -> None:
    def work() -> object:
        kernel.no_new_privileges()
        own = [(str(place.own), landlock.READ | landlock.WRITE)]
        Rules(own, no_tcp=True, scoped=True).apply(version)
        (place.own / "written").write_text("yes")
        return tried(place.attempts())

    expected = {name for name, since in STOPPED_SINCE.items() if version < since}
    assert still_open(in_a_child(work)) == expected
    assert (place.own / "written").read_text() == "yes"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_worker_on_an_older_kernel_is_kept_as_much_as_can_be(
    place: Place, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: version)
    seccomp.prepared.cache_clear()

    def work() -> object:
        confine.confine(Sandbox(GUARDED, str(place.own), network="none"), str(place.own), [])
        return {**tried(place.attempts()), "facts": confine.reached()}

    try:
        found = in_a_child(work)
    finally:
        seccomp.prepared.cache_clear()
    assert isinstance(found, dict), found
    facts = found.pop("facts")
    assert (facts["tier"], facts["landlock"], facts["missing"]) == (GUARDED, version, [])
    assert still_open(found) == {n for n, since in WORKER_STOPPED_SINCE.items() if version < since}


def test_without_landlock_a_worker_is_in_the_tier_process_and_says_why(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)

    def work() -> object:
        confine.confine(Sandbox(GUARDED, str(place.own)), str(place.own), [])
        return confine.reached()

    facts = in_a_child(work)
    assert isinstance(facts, dict), facts
    assert facts["tier"] == PROCESS
    assert facts["missing"] == ["The kernel has no Landlock (Linux 5.13 and later have it)."]
    assert facts["seccomp"] is True


def test_without_landlock_a_worker_that_must_be_guarded_does_not_load(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)

    def work() -> object:
        required = Sandbox(GUARDED, str(place.own), required=True)
        return confine.confine(required, str(place.own), [])

    said = in_a_child(work)
    assert str(said).startswith("SandboxUnavailable: The worker cannot be confined"), said


@pytest.mark.parametrize(("found", "filters"), [(0, True), (5, False)])
def test_a_server_knows_what_its_kernel_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int, filters: bool
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: found)
    monkeypatch.setattr(seccomp, "available", lambda: filters)
    state = examine(SandboxOptions(), tmp_path)
    assert (state.asked, state.tier, len(state.missing)) == (GUARDED, PROCESS, 1)
    with pytest.raises(SandboxUnavailable, match="cannot be in the tier guarded"):
        Confinement(SandboxOptions(required=True), tmp_path)
