"""Secrets, keys and limits of a real server with more than one gateway."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import penstock
from penstock.core.errors import FunctionFailed, ResultTooLarge, SecretMissing, WorkerDied

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, start_gateways: Callable[..., Any]
) -> Iterator[Any]:
    """A server with three gateways, a small result limit and an API of its own."""
    live = start_gateways(tmp_path_factory.mktemp("guarded") / "data")
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def start_gateways(launch_server: Callable[..., Any]) -> Callable[..., Any]:
    def start(data: Path) -> Any:
        return launch_server(
            data, {"PENSTOCK_GATEWAYS": "3", "PENSTOCK_MAX_RESULT_BYTES": "300000"}
        )

    return start


def model(data: list[Any]) -> list[Any]:
    return data


def deploy(live: Any, name: str, **functions: Any) -> penstock.Endpoint:
    options = {k: functions.pop(k) for k in ("memory", "cpu", "secrets") if k in functions}
    stage = (penstock.model_type.PYTHON, model, functions)
    return penstock.deploy(
        [stage], name, live.keys["deploy"], server=live.url, quiet=True, **options
    )


def in_time(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fail after a deadline."""
    end = time.monotonic() + DEADLINE_S
    wait = threading.Event()
    while not holds():
        assert time.monotonic() < end
        wait.wait(0.05)


def test_a_secret_reaches_its_functions_and_nothing_else(guarded: Any) -> None:
    key = guarded.keys["deploy"]
    at = {"server": guarded.url, "api_key": key}
    penstock.secrets.set("PAY_TOKEN", "very-secret-value-1", **at)
    penstock.secrets.set("NOT_DECLARED", "very-secret-value-2", **at)

    def pre(data):
        import os

        from penstock import get_secret

        token = get_secret("PAY_TOKEN")
        print(f"the token is {token}")
        if data == ["fail"]:
            raise ValueError(f"{token} was refused")
        if data == ["other"]:
            return [get_secret(*["NOT_DECLARED"])]
        if data == ["pid"]:
            return [os.getpid(), "terces-yrev"[::-1] in str(dict(os.environ))]
        return [token[::-1]]

    endpoint = deploy(guarded, "pay", pre=pre)
    assert endpoint.predict([1]) == ["1-eulav-terces-yrev"]

    with pytest.raises(FunctionFailed) as caught:
        endpoint.predict(["fail"])
    assert "*** was refused" in str(caught.value)
    assert "very-secret" not in str(caught.value.to_dict(with_traceback=True))
    assert caught.value.traceback
    with pytest.raises(SecretMissing, match="does not declare it"):
        endpoint.predict(["other"])

    pid, in_environment = endpoint.predict(["pid"])
    assert not in_environment
    process = Path(f"/proc/{pid}")
    assert b"very-secret" not in (process / "cmdline").read_bytes()
    assert b"very-secret" not in (process / "environ").read_bytes()
    assert "very-secret" not in guarded.log
    for path in guarded.data.rglob("*"):
        if path.is_file():
            assert b"very-secret" not in path.read_bytes(), path


def test_a_changed_secret_is_seen_without_a_new_deploy(guarded: Any) -> None:
    at = {"server": guarded.url, "api_key": guarded.keys["deploy"]}
    penstock.secrets.set("TURNING", "value-before", **at)

    def pre(data):
        from penstock import get_secret

        return [get_secret("TURNING")]

    endpoint = deploy(guarded, "turning", pre=pre)
    assert endpoint.predict([1]) == ["value-before"]
    penstock.secrets.set("TURNING", "value-after", **at)
    in_time(lambda: endpoint.predict([1]) == ["value-after"])
    penstock.secrets.rotate(server=guarded.url, api_key=guarded.keys["admin"])
    assert endpoint.predict([1]) == ["value-after"]


def test_a_secret_can_be_used_while_a_class_is_loaded(guarded: Any) -> None:
    at = {"server": guarded.url, "api_key": guarded.keys["deploy"]}
    penstock.secrets.set("AT_LOAD", "value-at-load", **at)

    class Model:
        def __init__(self) -> None:
            from penstock import get_secret

            self.token = get_secret("AT_LOAD")

        def __call__(self, data: list[Any]) -> list[Any]:
            return [self.token for _ in data]

    stage = (penstock.model_type.PYTHON, Model)
    endpoint = penstock.deploy(
        [stage], "at-load", guarded.keys["deploy"], server=guarded.url, quiet=True
    )
    assert endpoint.predict([1, 2]) == ["value-at-load"] * 2


def echo(live: Any) -> str:
    def pre(data):
        return data

    return deploy(live, "echo", pre=pre).url


def make_key(live: Any, scope: str = "predict", **fields: Any) -> dict[str, Any]:
    answer = httpx2.post(
        f"{live.url}/v1/default/keys",
        json={"scope": scope, **fields},
        headers={"Authorization": live.keys["deploy"]},
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def statuses(url: str, key: str, count: int) -> list[int]:
    """Return the statuses of calls, each on a connection of its own, so on any gateway."""
    return [
        httpx2.post(url, json=[1], headers={"Authorization": key}).status_code for _ in range(count)
    ]


def test_a_revoked_key_is_refused_by_every_gateway_from_that_moment(guarded: Any) -> None:
    url = echo(guarded)
    made = make_key(guarded)
    assert set(statuses(url, made["key"], 12)) == {200}
    gone = httpx2.delete(
        f"{guarded.url}/v1/default/keys/{made['key_id']}",
        headers={"Authorization": guarded.keys["deploy"]},
    )
    assert gone.status_code == 200
    assert set(statuses(url, made["key"], 12)) == {401}


def test_a_key_expires_in_every_gateway(guarded: Any) -> None:
    url = echo(guarded)
    made = make_key(guarded, expires_in_s=3.0)
    assert set(statuses(url, made["key"], 6)) == {200}
    in_time(lambda: time.time() > made["expires_at"])
    assert set(statuses(url, made["key"], 12)) == {401}


def test_a_grant_holds_in_every_gateway(guarded: Any) -> None:
    url = echo(guarded)
    granted = make_key(guarded, deployments=["echo"])["key"]
    other = make_key(guarded, deployments=["another"])["key"]
    assert set(statuses(url, granted, 6)) == {200}
    assert set(statuses(url, other, 12)) == {403}


def test_a_rate_limit_holds_for_all_gateways_together(guarded: Any) -> None:
    url = echo(guarded)
    limited = make_key(guarded, rate_per_s=5.0)["key"]
    begun = time.monotonic()
    found = statuses(url, limited, 30)
    allowed = 5 + 5 * (time.monotonic() - begun)
    assert set(found) == {200, 429} or allowed >= 30
    assert 5 <= found.count(200) <= allowed + 1


def test_a_result_that_is_too_large_is_an_error_and_the_worker_goes_on(guarded: Any) -> None:
    def post(result):
        return ["x" * result[0]]

    endpoint = deploy(guarded, "large", post=post)
    assert len(endpoint.predict([299_000])[0]) == 299_000
    with pytest.raises(ResultTooLarge, match="passes on 300000"):
        endpoint.predict([400_000])
    assert endpoint.predict([3]) == ["xxx"]


def test_a_worker_that_takes_too_much_memory_names_its_limit(guarded: Any) -> None:
    def pre(data):
        if data[0] == "ask":
            return [len(bytearray(1 << 31))]
        import mmap
        import threading

        # Shared memory is not counted by the kernel's limit: the server's watch finds it.
        held = mmap.mmap(-1, 1 << 28)
        for _ in range(1 << 8):
            held.write(b"x" * (1 << 20))

        threading.Event().wait(20)
        return [1]

    endpoint = deploy(guarded, "hungry", pre=pre, memory=0.0625)
    with pytest.raises(FunctionFailed, match="default/hungry may take 64 MiB") as caught:
        endpoint.predict(["ask"])
    assert caught.value.type == "MemoryError"
    with pytest.raises(WorkerDied, match="its limit is 64 MiB") as died:
        endpoint.predict(["hold"])
    assert "default/hungry" in str(died.value)
    assert "larger memory=" in str(died.value)


def test_the_threads_of_a_version_are_those_it_asked_for(guarded: Any) -> None:
    def pre(data):
        import os

        import torch

        names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        return [torch.get_num_threads(), *(os.environ.get(name) for name in names)]

    endpoint = deploy(guarded, "threads", pre=pre, cpu=2)
    assert endpoint.predict([1]) == [2, "2", ""]


def test_no_key_is_ever_in_the_servers_output(guarded: Any) -> None:
    shown = [line for line in guarded.lines if "pk_" in line and "_***" not in line]
    first = {f"  {scope:<8} {key}" for scope, key in guarded.keys.items()}
    assert set(shown) <= first


def test_the_command_line_handles_secrets_and_keys(guarded: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PENSTOCK_SERVER": guarded.url,
        "PENSTOCK_API_KEY": guarded.keys["deploy"],
        "PENSTOCK_PROFILE": str(tmp_path / "profile.json"),
    }

    def run(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "penstock.cli.main", *arguments],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Set CLI_TOKEN" in run("secrets", "set", "CLI_TOKEN", given="typed-value\n")
    assert "CLI_TOKEN" in run("secrets", "list")
    assert "Deleted" in run("secrets", "delete", "CLI_TOKEN", "--yes")
    made = run("keys", "create", "read", "--label", "laptop", "--expires-days", "1")
    key, key_id = made.split()[0], made.split()[2].rstrip(";")
    listed = run("keys", "list")
    assert "laptop; expires" in listed
    assert key not in listed
    assert "Revoked" in run("keys", "revoke", key_id, "--yes")
    log = run("audit", "--limit", "5")
    assert [line.split()[2] for line in log.splitlines()] == [
        "revoke_key", "add_key", "delete_secret", "set_secret", *log.splitlines()[4].split()[2:3],
    ]  # fmt: skip
    assert "typed-value" not in log
