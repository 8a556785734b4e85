"""Each call to the disk fails once, while a version is deployed, a run is done, and one goes back.

Not at named places but wherever the server touches a file of its data folder, SQLite included.
Whatever fails: the caller gets success or a clean error, what was told is true, and afterwards
`penstock doctor` finds nothing. `make soak` lets every call fail, with every error.
"""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from disks import CREATE, NAME, OPEN, READ, SYNC, WRITE, FailingDisk
from versioned import put

from penstock import model_type
from penstock.core.errors import PenstockError

#: Which calls may fail with which error.
ERRORS = {
    "ENOSPC": CREATE | WRITE | NAME,
    "EIO": READ | WRITE | SYNC,
    "EMFILE": OPEN | CREATE,
    "EACCES": OPEN | CREATE | NAME,
}

#: What a caller may be told when the disk fails; an empty code is success.
TOLD = {"", "store_failed", "disk_full", "blob_missing", "blob_corrupt", "engine_failed"}


def building(number: int) -> list[Any]:
    """A flow that saves what it is sent, unless that is negative; answers its number and that."""

    def model(value: Any) -> Any:
        from penstock import get, save

        if value[0] >= 0:
            save("mark", value[0])
        return [number, get("mark"), *value[1:]]

    return [(model_type.PYTHON, model)]


class Caller:
    """Somebody who uses a server with a failing disk, and knows what it must have kept.

    Versions of `growing` are deployed; `turning` has two, which take turns.
    """

    def __init__(self, live: Any) -> None:
        self.live = live
        self.keys = live.keys
        self.told: Counter[str] = Counter()
        self._newest = 0
        self._may_serve = {"growing": {1}, "turning": {2}}
        self._mark = 0.0
        self._may_be_saved = {0.0}
        self._run_id = ""
        put(live, building(1), "turning")
        put(live, building(2), "turning")
        self.deploy()
        self.save()
        assert self.told == {"": 2}

    def request(self, method: str, path: str, key: str, body: Any = None) -> httpx2.Response:
        headers = {"Authorization": self.keys[key]}
        url = f"{self.live.url}/v1/default/{path}"
        return httpx2.request(method, url, json=body, headers=headers, timeout=60)

    def call(self, name: str, *value: Any) -> httpx2.Response:
        return self.request("POST", f"{name}/predict", "predict", list(value))

    # --- while the disk fails ---

    def deploy(self) -> None:
        self._newest += 1
        try:
            put(self.live, building(self._newest), "growing")
        except PenstockError as error:
            self._tell(error.code)
            self._may_serve["growing"] |= {self._newest}
        else:
            self._tell("")
            self._may_serve["growing"] = {self._newest}

    def turn(self) -> None:
        (serving,) = self._may_serve["turning"]
        other = 3 - serving
        answer = self.request("POST", f"turning/versions/{other}/activate", "deploy")
        code = self._tell(code_of(answer))
        self._may_serve["turning"] = {serving, other} if code else {other}

    def save(self) -> None:
        self._mark += 1.0
        code = self._tell(code_of(self.call("turning", self._mark)))
        self._may_be_saved = self._may_be_saved | {self._mark} if code else {self._mark}

    def run(self) -> None:
        """Submit a run and wait for its end; a large input and result are kept as files."""
        self._mark += 1.0
        text = "x" * (100_000 if self._mark % 2 else 1)
        path = "turning/predict?async=true"
        answer = self.request("POST", path, "predict", [-1.0, text])
        self._run_id = "" if self._tell(code_of(answer)) else answer.json()["run_id"]
        if self._run_id:
            self._end_of_run()

    def _end_of_run(self) -> dict[str, Any]:
        give_up = time.monotonic() + 60
        while True:
            answer = self.request("GET", f"runs/{self._run_id}?wait=5", "predict")
            assert code_of(answer) in TOLD, answer.text
            if answer.status_code == 200 and answer.json()["finished_at"] is not None:
                found: dict[str, Any] = answer.json()
                return found
            assert time.monotonic() < give_up, answer.text

    def _tell(self, code: str) -> str:
        assert code in TOLD, f"{code}\n{self.live.log[-4000:]}"
        self.told[code] += 1
        return code

    # --- afterwards ---

    def check(self) -> None:
        """What was told is true."""
        for name, may_serve in self._may_serve.items():
            answer = self.call(name, -1.0) if name == "turning" else self.call(name, 1.0)
            assert answer.status_code == 200, answer.text
            number, mark = answer.json()["result"]
            assert number in may_serve, (name, number, may_serve)
            self._may_serve[name] = {number}
            if name == "turning":
                assert mark in self._may_be_saved
                self._may_be_saved = {mark}
                assert self.request("GET", name, "deploy").json()["active"] == number
        if self._run_id:
            ended = self._end_of_run()
            assert ended["state"] == "succeeded", ended
            assert ended["result"][2].strip("x") == ""


def code_of(answer: httpx2.Response) -> str:
    return "" if answer.status_code < 300 else str(answer.json()["error"]["code"])


def wait_until_serving(caller: Caller) -> None:
    give_up = time.monotonic() + 60
    for name in ("growing", "turning"):
        while caller.call(name, -1.0 if name == "turning" else 1.0).status_code == 503:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def problems(data: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "penstock.cli.main", "doctor", f"--data={data}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)["findings"]
    return [finding for finding in found if finding["level"] == "problem"]


def fail_in_turn(
    start_server: Callable[..., Any], folder: Path, step: int, say: Callable[[str], None]
) -> None:
    """Let every `step`-th call fail, in each kind of work and with each error."""
    data = folder / "data"
    disk = FailingDisk(folder, data)
    live = start_server(data, disk.environment)
    caller = Caller(live)
    happened: Counter[str] = Counter()
    for work in (caller.deploy, caller.turn, caller.save, caller.run):
        for name, kinds in ERRORS.items():
            for at in itertools.count(1 + sum(happened.values()) % step, step):
                with disk.failing(kinds, getattr(errno, name), at) as failure:
                    work()
                caller.check()
                if not failure.happened:
                    break
                happened[f"{work.__name__} {name}"] += 1
                say(f"{sum(happened.values())} failures; told {dict(caller.told)}")
    print(f"\n{dict(happened)}")
    assert len(happened) >= 5, "hardly a call failed"
    assert sum(count for code, count in caller.told.items() if code) > 0
    assert "never retrieved" not in live.log, live.log
    live.kill()
    caller.live = start_server(data)
    wait_until_serving(caller)
    caller.check()
    assert caller.live.stop() == 0
    assert problems(data) == []


def test_whichever_call_to_the_disk_fails_what_was_told_is_true(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    fail_in_turn(start_server, tmp_path, 29, lambda _: None)


@pytest.mark.soak
def test_every_call_to_the_disk_fails_once(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    def say(text: str) -> None:
        print(f"\r{text}", end="", flush=True)

    fail_in_turn(start_server, tmp_path, 1, say)
