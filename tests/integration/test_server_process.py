"""`penstock serve` as a process: its first start, its end, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

Start = Callable[..., Any]


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to refuse to start."""
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_first_start_prints_keys_once_and_saves_the_deploy_key(
    tmp_path: Path, start_server: Start
) -> None:
    first = start_server()
    assert set(first.keys) == {"admin", "deploy", "predict"}
    profile = json.loads(first.profile.read_text())
    assert profile["api_key"] == first.keys["deploy"]
    assert profile["server"] == first.url
    assert stat.S_IMODE(first.profile.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.data.stat().st_mode) == 0o700
    assert first.stop() == 0
    second = start_server(first.data)
    assert second.keys == {}
    answer = httpx2.get(f"{second.url}/v1/whoami", headers={"Authorization": first.keys["deploy"]})
    assert answer.json()["scope"] == "deploy"


def test_keys_are_not_in_any_file_of_the_data_folder(start_server: Start) -> None:
    live = start_server()
    assert live.stop() == 0
    for path in live.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [s for s, key in live.keys.items() if key.encode() in content], path


def test_an_admin_key_may_be_given_from_outside(start_server: Start) -> None:
    key = "a-long-random-admin-key-0123456789"
    live = start_server(environment={"PENSTOCK_ADMIN_KEY": key})
    answer = httpx2.get(f"{live.url}/v1/whoami", headers={"Authorization": f"Bearer {key}"})
    assert answer.json()["scope"] == "admin"
    assert "admin" not in live.keys
    assert not live.profile.exists()
    assert key not in live.log


def test_two_servers_on_one_folder_are_refused_with_the_others_process_id(
    start_server: Start,
) -> None:
    live = start_server()
    done = serve(f"--data={live.data}", "--port=0")
    assert done.returncode == 1
    assert f"process {live.pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(f"--data={tmp_path / 'data'}", f"--port={port}")
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_option_is_a_sentence(tmp_path: Path) -> None:
    done = serve(f"--data={tmp_path / 'data'}", PENSTOCK_DRAIN_S="long")
    assert done.returncode == 1
    assert "PENSTOCK_DRAIN_S" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_termination_leaves_no_process_behind(start_server: Start) -> None:
    live = start_server()
    family = children_of(live.pid)
    assert live.stop() == 0
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert "Traceback" not in live.log


def test_after_a_kill_the_next_server_takes_the_folder(start_server: Start) -> None:
    first = start_server()
    first.kill()
    second = start_server(first.data)
    assert httpx2.get(f"{second.url}/readyz").status_code == 200
    second.signal(signal.SIGINT)
    assert second.wait() == 0
