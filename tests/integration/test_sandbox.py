"""A hostile function tries everything from inside a worker, in every tier; a table says what came.

The tier `process` is the control: there the attempts succeed, so that "stopped" elsewhere means
something. Run with `-s` to see the tables.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hostile
import httpx2
import pytest

from penstock import deploy, model_type
from penstock.core.errors import PenstockError
from penstock.core.names import is_sha256
from penstock.engine.sandbox import bubblewrap, landlock, places, seccomp

pytestmark = pytest.mark.skipif(
    not (landlock.version() and seccomp.available()), reason="needs Landlock and seccomp"
)

SECRET = "the-secret-of-the-operator"

#: Other tests open their folders to workers.
ALONE = {"PENSTOCK_SANDBOX_WRITE": ""}

#: What a guarded worker may still do, because the deployment's network is "all".
NETWORK = {"connect by TCP", "send by UDP"}

#: What harms nobody where the user is the project's alone.
OWN = {"slow all of its user down", "use memory of its user"}

#: What needs a newer Landlock than some kernels have, besides.
SIGNALS = {"connect to an abstract socket", "signal the server"}


def attacker(value: Any) -> Any:
    return value


def pre(data: Any) -> Any:
    return [hostile.attack(data[0])]


FLOW = [(model_type.PYTHON, attacker, {"pre": pre})]


class Listeners:
    """Sockets of the kinds a control plane has, waiting to be reached."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(mode=0o700)
        self.unix = str(folder / "control.sock")
        self.abstract = f"penstock-test-{os.getpid()}"
        for address in (self.unix, "\0" + self.abstract):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(address)
            sock.listen()
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.datagrams = str(folder / "datagrams.sock")
        datagrams.bind(self.datagrams)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        self.tcp, self.udp = tcp.getsockname(), udp.getsockname()


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[Listeners]:
    with ExitStack() as stack:
        yield Listeners(tmp_path / "sockets", stack)


def targets(server: Any, listeners: Listeners) -> dict[str, Any]:
    """Put a file of another project on the server, and say where everything is."""
    with httpx2.Client(
        base_url=server.url, headers={"Authorization": server.keys["admin"]}
    ) as client:
        made = client.post("/v1/projects", json={"name": "other"})
        assert made.status_code in {201, 409}  # two tests share a server
        content = b"weights of the neighbour"
        digest = hashlib.sha256(content).hexdigest()
        answer = client.put(f"/v1/other/blobs/{digest}", content=content)
        assert answer.status_code < 300, answer.text
    return {
        "records": str(server.data / "records.sqlite"),
        "blob": str(server.data / "blobs" / digest[:2] / digest),
        "outside": str(server.data / "hostile"),
        "packages": hostile.packages(),
        "unix": listeners.unix,
        "abstract": listeners.abstract,
        "datagrams": listeners.datagrams,
        "tcp": listeners.tcp,
        "udp": listeners.udp,
        "server": server.pid,
        "secret": SECRET,
    }


@pytest.fixture(scope="module")
def guarding(
    launch_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """Return the server of a tier; started when it is first asked for."""
    started: dict[str, Any] = {}

    def server_of(tier: str) -> Any:
        if tier not in started:
            environment = {"PENSTOCK_SANDBOX": tier, "SECRET": SECRET, **ALONE}
            started[tier] = launch_server(tmp_path_factory.mktemp(tier) / "data", environment)
        return started[tier]

    yield server_of
    for live in started.values():
        assert live.stop() == 0, live.log


def attack(server: Any, listeners: Listeners, network: str) -> tuple[dict[str, str], Any]:
    where = targets(server, listeners)
    endpoint = deploy(
        FLOW, "hostile", server.keys["deploy"], server=server.url, network=network, quiet=True
    )
    where["own"] = own_file(server, where["blob"])
    seen: dict[str, str] = endpoint.predict([where])[0]
    for name, path in written(where).items():
        if seen[name] == "open" and not path.exists():
            seen[name] = "stopped (only in a folder of its own)"
    return seen, sandbox_of(server, "hostile")


def own_file(server: Any, not_this: str) -> str:
    """Return where a file of the version lies that its worker may read."""
    # Not `rglob`, which fails where a worker of before takes its folder away meanwhile.
    places = [Path(folder, name) for folder, _, names in os.walk(server.data) for name in names]
    found = [p for p in places if is_sha256(p.name) and str(p) != not_this]
    # A link in a folder of the version's own, where there is one, else the file itself.
    return str(min(found, key=lambda p: p.parts[-3] == "blobs"))


def written(where: dict[str, Any]) -> dict[str, Path]:
    """Return the files that a worker without bounds writes."""
    return {
        "write beside the data": Path(where["outside"]),
        "write to /tmp": Path("/tmp/penstock-hostile"),
        "write to /dev/shm": Path("/dev/shm/penstock-hostile"),
        "write to its site-packages": Path(where["packages"], "hostile.py"),
    }


def sandbox_of(server: Any, name: str) -> Any:
    url = f"{server.url}/v1/default/{name}"
    headers = {"Authorization": server.keys["deploy"]}
    return httpx2.get(url, headers=headers).json()["replicas"][0]["facts"]["sandbox"]


def show(title: str, seen: dict[str, str]) -> None:
    print(f"\n{title}")
    for name, outcome in seen.items():
        print(f"  {name:<32} {outcome}")


def still_open(seen: dict[str, str]) -> set[str]:
    return {name for name, outcome in seen.items() if outcome == "open"}


def clean_up() -> None:
    for place in ("/tmp/penstock-hostile", "/dev/shm/penstock-hostile"):
        Path(place).unlink(missing_ok=True)
    Path(hostile.packages(), "hostile.py").unlink(missing_ok=True)


def test_in_the_tier_process_the_attempts_succeed(start_server: Any, listeners: Listeners) -> None:
    server = start_server(environment={"PENSTOCK_SANDBOX": "process", "SECRET": SECRET, **ALONE})
    try:
        seen, sandbox = attack(server, listeners, "all")
    finally:
        clean_up()
    show(f"tier {sandbox['tier']}", seen)
    assert sandbox["tier"] == "process"
    assert {"read the records", "read another project's file", "connect by TCP"} <= still_open(seen)
    assert {"connect to a unix socket", "send by UDP", "write to /tmp"} <= still_open(seen)
    assert {"signal the server", "read the server's environment"} <= still_open(seen)
    assert "change a file of its version" in still_open(seen)
    assert {"limit the server", "slow the server down", "use memory of its user"} <= still_open(
        seen
    )


@pytest.mark.parametrize("network", ["all", "none"])
def test_a_guarded_worker_is_stopped(
    guarding: Callable[[str], Any], listeners: Listeners, network: str
) -> None:
    server = guarding("guarded")
    seen, sandbox = attack(server, listeners, network)
    show(f"tier {sandbox['tier']}, network {network}, user {sandbox['user']}", seen)
    assert (sandbox["tier"], sandbox["network"], sandbox["missing"]) == ("guarded", network, [])
    allowed = NETWORK if network == "all" else set()
    if sandbox["landlock"] < 6:
        allowed |= SIGNALS
    assert still_open(seen) <= allowed
    assert still_open(seen) >= NETWORK or network == "none"


@pytest.mark.skipif(bool(bubblewrap.obstacle()), reason=bubblewrap.obstacle() or "-")
@pytest.mark.parametrize("network", ["all", "none"])
def test_an_isolated_worker_is_stopped(
    guarding: Callable[[str], Any], listeners: Listeners, network: str
) -> None:
    server = guarding("isolated")
    seen, sandbox = attack(server, listeners, network)
    show(f"tier {sandbox['tier']}, network {network}, user {sandbox['user']}", seen)
    assert (sandbox["tier"], sandbox["missing"]) == ("isolated", [])
    assert still_open(seen) <= (NETWORK if network == "all" else set())


def open_python() -> str:
    """Return a Python that users without rights can run, with this one's libraries; "" if none."""
    wanted = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found = shutil.which(wanted, path="/usr/bin:/usr/local/bin")
    if not found or os.geteuid() != 0:
        return ""
    paths = [p for p in sys.path if p and Path(p).is_dir() and "site-packages" in p]
    paths.append(str(Path(places.__file__).parents[3]))
    return "" if any(places.closed_to_others(p) for p in (found, *paths)) else found


@pytest.mark.skipif(not open_python(), reason="needs root and a Python that everybody can run")
@pytest.mark.parametrize(
    "tier",
    [
        "guarded",
        pytest.param(
            "isolated",
            marks=pytest.mark.skipif(
                bool(bubblewrap.obstacle()), reason=bubblewrap.obstacle() or "-"
            ),
        ),
    ],
)
def test_projects_have_users_of_their_own_where_the_server_is_root(
    listeners: Listeners, start_server: Any, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    shared = Path("/tmp") / f"penstock-test-{os.getpid()}"
    shared.mkdir(mode=0o755)
    libraries = [
        p for p in sys.path if p and Path(p).is_dir() and not p.startswith(sys.base_prefix)
    ]
    libraries.insert(0, str(Path(places.__file__).parents[3]))
    monkeypatch.setattr(sys, "executable", open_python())
    environment = {
        "SECRET": SECRET, "PYTHONPATH": ":".join(libraries), "PENSTOCK_SANDBOX": tier, **ALONE
    }  # fmt: skip
    try:
        server = start_server(data=shared / "data", environment=environment)
        seen, sandbox = attack(server, listeners, "all")
        show(f"tier {sandbox['tier']}, network all, user {sandbox['user']}", seen)
        assert sandbox["tier"] == tier
        # There is only one user in a namespace of users.
        assert sandbox["user"] >= 200_000 if tier == "guarded" else sandbox["user"] == 0
        assert still_open(seen) <= NETWORK | (OWN if tier == "guarded" else set())
        assert (server.data / "records.sqlite").stat().st_mode & 0o077 == 0
        assert server.stop() == 0
    finally:
        shutil.rmtree(shared)


def test_a_server_that_requires_what_is_not_there_does_not_start(tmp_path: Path) -> None:
    environment = {
        **os.environ, "PATH": str(tmp_path), "PENSTOCK_SANDBOX": "isolated",
        "PENSTOCK_SANDBOX_REQUIRED": "on",
    }  # fmt: skip
    command = [sys.executable, "-m", "penstock.cli.main", "serve", "--port=0"]
    done = subprocess.run(
        [*command, f"--data={tmp_path / 'data'}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "bubblewrap is not installed" in done.stdout + done.stderr


def test_without_bubblewrap_workers_are_guarded_and_the_server_says_so(
    start_server: Any, tmp_path: Path
) -> None:
    environment = {"PATH": str(tmp_path), "PENSTOCK_SANDBOX": "isolated"}
    server = start_server(environment=environment)
    headers = {"Authorization": server.keys["deploy"]}
    state = httpx2.get(f"{server.url}/v1/status", headers=headers).json()["sandbox"]
    assert (state["asked"], state["tier"]) == ("isolated", "guarded")
    assert state["missing"] == ["bubblewrap is not installed (its program is bwrap)."]


def test_folders_that_the_operator_names_can_be_read_and_written(
    start_server: Any, tmp_path: Path
) -> None:
    table, notes = tmp_path / "table.txt", tmp_path / "notes"
    table.write_text("forty-two")
    notes.mkdir()
    paths = [str(table), str(notes / "said.txt")]

    def look(data: Any) -> Any:
        with open(data[0]) as file, open(data[1], "w") as out:
            out.write(file.read())
        return data

    environment = {"PENSTOCK_SANDBOX_READ": paths[0], "PENSTOCK_SANDBOX_WRITE": str(notes)}
    server = start_server(environment=environment)
    flow = [(model_type.PYTHON, attacker, {"pre": look})]
    endpoint = deploy(flow, "looks", server.keys["deploy"], server=server.url, quiet=True)
    endpoint.predict(paths)
    assert (notes / "said.txt").read_text() == "forty-two"


def test_a_function_that_reads_elsewhere_is_told_of_the_sandbox(
    guarding: Callable[[str], Any], tmp_path: Path
) -> None:
    secret = tmp_path / "elsewhere.txt"
    secret.write_text("not for you")

    def look(data: Any) -> Any:
        with open(data[0]) as file:
            return [file.read()]

    server = guarding("guarded")
    flow = [(model_type.PYTHON, attacker, {"pre": look})]
    endpoint = deploy(flow, "reads", server.keys["deploy"], server=server.url, quiet=True)
    with pytest.raises(PenstockError, match="PENSTOCK_SANDBOX_READ"):
        endpoint.predict([str(secret)])
