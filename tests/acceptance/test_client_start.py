"""`penstock.start()` and `penstock login`: from nothing to a server that this process uses."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.client import start as start_module
from penstock.client.config import resolve, set_process_default
from penstock.client.session import session_for
from penstock.core.errors import ClientError, ServerUnreachable


@pytest.fixture(autouse=True)
def new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Somebody without a server, a key or a profile."""
    path = tmp_path / "conf" / "profile.json"
    monkeypatch.setenv("PENSTOCK_PROFILE", str(path))
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path / "usual"))
    monkeypatch.setenv("PENSTOCK_SERVER", "http://127.0.0.1:9")
    for variable in ("PENSTOCK_API_KEY", "PENSTOCK_ADMIN_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(start_module, "_started", {})
    yield path
    set_process_default(None, None)


def login(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "login", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_start_makes_a_server_that_this_process_uses(tmp_path: Path) -> None:
    with penstock.start(tmp_path / "data") as server:
        target = resolve()
        assert target.server == server.url
        assert session_for(target).get("/v1/whoami")["scope"] == "admin"
        assert penstock.start(tmp_path / "data") is server
        assert target.api_key not in repr(server)
    assert not server.alive
    with pytest.raises(ServerUnreachable):
        session_for(target).get("/v1/whoami")


def test_start_finds_what_another_notebook_started_and_leaves_it_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with penstock.start() as server:
        monkeypatch.setattr(start_module, "_started", {})
        set_process_default(None, None)
        found = penstock.start()
        assert found.url == server.url
        assert resolve().server == server.url
        found.stop()
        assert server.alive


def test_start_leaves_the_profile_as_it_is(tmp_path: Path, new_user: Path) -> None:
    with penstock.start(tmp_path / "data"):
        assert not new_user.exists()


def test_a_server_that_does_not_start_shows_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ClientError, match="did not start") as caught:
        penstock.start(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_a_started_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import penstock, sys\n"
        f"server = penstock.start({str(tmp_path / 'data')!r})\n"
        "print(server._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    assert gone(pid, 30)


def test_login_checks_the_key_and_saves_it_for_the_user_alone(server: Any, new_user: Path) -> None:
    done = login("--server", server.url, "--key", server.keys["deploy"])
    assert done.returncode == 0, done.stderr
    assert "scope deploy" in done.stdout
    assert server.keys["deploy"] not in done.stdout
    fields = json.loads(new_user.read_text())
    assert (fields["server"], fields["api_key"]) == (server.url, server.keys["deploy"])
    assert fields["project"]
    assert stat.S_IMODE(new_user.stat().st_mode) == 0o600


def test_login_with_a_wrong_key_saves_nothing(server: Any, new_user: Path) -> None:
    done = login("--server", server.url, "--key", "pk_d_00000000_" + "x" * 32)
    assert done.returncode == 3
    assert "key" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert not new_user.exists()


def test_login_without_a_server_says_how_to_start_one(new_user: Path) -> None:
    done = login("--server", "http://127.0.0.1:9", "--key", "k")
    assert done.returncode == 3
    assert "penstock serve" in done.stderr
    assert not new_user.exists()
