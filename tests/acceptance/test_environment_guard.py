"""Environments of versions under guard: a worker changes neither its own nor a neighbour's.

Run with `-s` to see what was tried in each tier.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import deploy, model_type
from penstock.engine.sandbox import bubblewrap, landlock, seccomp

pytestmark = pytest.mark.skipif(
    not (landlock.version() and seccomp.available()), reason="needs Landlock and seccomp"
)

TIERS = [
    "guarded",
    pytest.param(
        "isolated",
        marks=pytest.mark.skipif(bool(bubblewrap.obstacle()), reason=bubblewrap.obstacle() or "-"),
    ),
]


def poison(data: Any) -> Any:
    """Try to change what is imported here and elsewhere; say what came of it."""
    import sys
    from pathlib import Path

    import colorama

    def outcome(attempt: Any) -> str:
        try:
            attempt()
        except OSError as error:
            return f"stopped ({error.strerror})"
        return "open"

    def change(path: Any, mode: int) -> None:
        before = path.stat().st_mode
        path.chmod(mode)
        if path.stat().st_mode == before:
            raise PermissionError(1, "it stays as it is")

    own = Path(colorama.__file__)
    attempts = {}
    for name, folder in (("own", own.parent), *sorted(data[0].items())):
        target = Path(folder)
        attempts[f"{name}: add a module"] = outcome(
            lambda t=target: (t / "evil.py").write_text("x")
        )
        attempts[f"{name}: add a .pth"] = outcome(
            lambda t=target: (t.parent / "evil.pth").write_text("import os")
        )
        attempts[f"{name}: rename"] = outcome(lambda t=target: t.rename(t.with_name("gone")))
        attempts[f"{name}: change its mode"] = outcome(lambda t=target: change(t, 0o700))
    attempts["own: append to a module"] = outcome(lambda: own.open("a").write("evil = 1\n"))
    attempts["own: link over a module"] = outcome(lambda: own.with_name("evil").symlink_to(own))
    return {
        "colorama": colorama.__version__, "prefix": sys.prefix, "python": sys.version.split()[0],
        "attempts": attempts,
    }  # fmt: skip


FLOW = [(model_type.PYTHON, poison)]


def digest(folder: Path) -> str:
    """Return one hash over names and contents of everything below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\n".encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package cache of these tests alone: whatever changes in it, they did it."""
    return tmp_path_factory.mktemp("cache") / "packages"


@pytest.fixture(scope="module")
def guarding(
    launch_server: Any, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """Return the server of a tier; started when it is first asked for."""
    started: dict[str, Any] = {}

    def server_of(tier: str) -> Any:
        if tier not in started:
            environment = {
                "PENSTOCK_SANDBOX": tier, "PENSTOCK_SANDBOX_WRITE": "",
                "PENSTOCK_SANDBOX_REQUIRED": "on", "PENSTOCK_PACKAGE_CACHE": str(cache),
            }  # fmt: skip
            started[tier] = launch_server(tmp_path_factory.mktemp(tier) / "data", environment)
        return started[tier]

    yield server_of
    for live in started.values():
        assert live.stop() == 0, live.log


def put(server: Any, name: str, pin: str, **options: Any) -> Any:
    return deploy(
        FLOW, name, server.keys["deploy"], server=server.url, quiet=True,
        requirements=[f"colorama=={pin}"], **options,
    )  # fmt: skip


def sandbox_of(server: Any, name: str) -> Any:
    url = f"{server.url}/v1/default/{name}"
    headers = {"Authorization": server.keys["deploy"]}
    until = time.monotonic() + 60
    while True:  # one that was killed may answer a last call before the next one is there
        found = httpx2.get(url, headers=headers).json()["replicas"]
        told = [replica["facts"]["sandbox"] for replica in found if "sandbox" in replica["facts"]]
        if told or time.monotonic() > until:
            return told[0]


def open_still(attempts: dict[str, str], sandbox: Any) -> set[str]:
    """Return what was not stopped, without what the threat model says is open."""
    found = {name for name, outcome in attempts.items() if outcome == "open"}
    if sandbox["tier"] == "guarded" and not sandbox["user"]:  # Landlock has no say in modes
        found = {name for name in found if not name.endswith("make writable")}
    if sandbox["tier"] == "isolated":  # a folder of that name in the worker's own /tmp
        found = {name for name in found if not name.startswith("records:")}
    return found


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("network", ["all", "none"])
def test_a_worker_poisons_no_environment(
    guarding: Callable[[str], Any], cache: Path, tier: str, network: str
) -> None:
    server = guarding(tier)
    neighbour = put(server, "neighbour", "0.4.6")
    theirs = neighbour.predict([{}])
    name = f"mine-{network}"
    mine = put(server, name, "0.4.5", network=network)
    first = mine.predict([{}])
    assert (theirs["colorama"], first["colorama"]) == ("0.4.6", "0.4.5")
    assert first["prefix"] != theirs["prefix"]
    folders = [*(Path(told["prefix"]) for told in (first, theirs)), cache]
    before = [digest(folder) for folder in folders]
    where = next(folders[1].rglob("site-packages/colorama"))
    said = mine.predict([{"neighbour": str(where), "cache": str(cache)}])
    print(f"\ntier {tier}, network {network}: {said['attempts']}")
    assert len(said["attempts"]) == 14
    assert open_still(said["attempts"], sandbox_of(server, name)) == set()
    assert not (server.data / "evil.py").exists()
    assert not (server.data.parent / "evil.pth").exists()
    assert [digest(folder) for folder in folders] == before
    found = sandbox_of(server, name)
    assert (found["tier"], found["network"], found["missing"]) == (tier, network, [])
    assert neighbour.predict([{}])["colorama"] == "0.4.6"


@pytest.mark.skipif(bool(bubblewrap.obstacle()), reason=bubblewrap.obstacle() or "-")
def test_an_isolated_version_in_its_own_environment_comes_back_after_its_worker_is_killed(
    guarding: Callable[[str], Any],
) -> None:
    server = guarding("isolated")
    endpoint = put(server, "killed", "0.4.6", memory=0.5)
    assert endpoint.predict([{}])["colorama"] == "0.4.6"
    url = f"{server.url}/v1/default/killed"
    headers = {"Authorization": server.keys["deploy"]}
    pid = httpx2.get(url, headers=headers).json()["replicas"][0]["pid"]
    os.kill(pid, 9)
    assert endpoint.predict([{}])["colorama"] == "0.4.6"
    assert sandbox_of(server, "killed")["tier"] == "isolated"
