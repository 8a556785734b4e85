"""Damaged files and a failing disk: refused by name, the version before serves on."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from open_loop import Background, Outcome
from versioned import module_that, put

from penstock import model_type
from penstock.core.errors import PenstockError

Start = Callable[..., Any]


def answering(number: int) -> list[Any]:
    def model(value: Any) -> Any:
        return [number]

    return [(model_type.PYTHON, model)]


def call(server: Any, name: str) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/default/{name}/predict",
        json=[1],
        headers={"Authorization": server.keys["predict"]},
        timeout=30,
    )


def activate(server: Any, name: str, number: int) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/default/{name}/versions/{number}/activate",
        headers={"Authorization": server.keys["deploy"]},
        timeout=60,
    )


def blobs_of(server: Any) -> set[Path]:
    return {p for p in (server.data / "blobs").rglob("*") if p.is_file()}


def flipped(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def shortened(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def write_anyway(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def damage_and_activate(start_server: Start, folder: Path, rounds: int) -> None:
    live = start_server()
    put(live, module_that(folder, "first_build", "pass"), "damaged")
    first = blobs_of(live)
    put(live, answering(2), "damaged")
    files = sorted(first & blobs_of(live))
    assert len(files) >= 2
    dice = random.Random(7)
    kinds = itertools.cycle([flipped, flipped, shortened])
    for number, path in zip(range(rounds), itertools.cycle(files), strict=False):
        whole = path.read_bytes()
        write_anyway(path, next(kinds)(whole, dice))
        answer = activate(live, "damaged", 1)
        assert answer.status_code == 422, answer.text
        error = answer.json()["error"]
        assert error["code"] == "blob_corrupt"
        assert path.name in error["message"]
        assert call(live, "damaged").json()["result"] == [2]
        write_anyway(path, whole)
        print(f"\r{number + 1}/{rounds} damaged files refused", end="", flush=True)
    assert activate(live, "damaged", 1).status_code == 200


def test_two_hundred_damaged_files_are_refused_by_name_and_the_version_before_serves(
    start_server: Start, tmp_path: Path
) -> None:
    damage_and_activate(start_server, tmp_path, 200)


STORE_CODES = {"store_failed", "disk_full"}

#: Calls of the disk and the databases that fail once, while a version is deployed and used.
FAILURES = [
    f"{place}={error}"
    for error, places in {
        "enospc": ("blob.writing", "blob.syncing", "records.adding", "records.activating"),
        "eio": ("blob.syncing", "blob.reading", "records.moving", "memory.publishing"),
        "emfile": ("blob.writing", "blob.reading"),
    }.items()
    for place in places
]


def saving(number: int) -> list[Any]:
    def model(value: Any) -> Any:
        from penstock import save

        save("number", number)
        return [number]

    return [(model_type.PYTHON, model)]


def test_a_failing_disk_is_a_clean_error_and_nothing_is_lost(
    start_server: Start,
) -> None:
    first = start_server()
    keys, data = first.keys, first.data
    put(first, saving(1), "failing")
    assert first.stop() == 0
    serving = 1
    for number, failure in enumerate(FAILURES, 2):
        live = start_server(data, {"PENSTOCK_FAULTS": failure})
        live.keys = keys
        wait_for_200_or_store_error(live)
        said = told(live, number)
        assert said in {"", "blob_missing", *STORE_CODES}, failure
        serving = serving if said else number
        answer = call(live, "failing")
        if answer.status_code != 200:
            assert answer.json()["error"]["code"] in STORE_CODES, (failure, answer.text)
            answer = call(live, "failing")
        assert answer.json()["result"] == [serving], failure
        assert "Traceback" not in live.log, (failure, live.log)
        assert live.stop() == 0
    assert problems(data) == []


def told(server: Any, number: int) -> str:
    """Deploy a version and return the code of what the caller was told; empty if it serves."""
    try:
        put(server, saving(number), "failing")
    except PenstockError as error:
        return error.code
    return ""


def wait_for_200_or_store_error(server: Any) -> None:
    server.wait_for(lambda s: s.url)
    while (answer := call(server, "failing")).status_code == 503:
        time.sleep(0.05)
    assert answer.status_code in {200, 500, 507}, answer.text


def examined(data: Path) -> dict[str, Any]:
    """Return what `penstock doctor` says about a data folder."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "doctor", f"--data={data}", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def problems(data: Path) -> list[dict[str, Any]]:
    return [found for found in examined(data)["findings"] if found["level"] == "problem"]


@pytest.mark.parametrize("damage", ["overwritten", "cut", "no database"])
def test_a_damaged_history_is_set_aside_and_serving_goes_on(
    start_server: Start, damage: str
) -> None:
    first = start_server()
    put(first, answering(1), "history")
    assert first.stop() == 0
    path = first.data / "insight.sqlite"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "overwritten": whole[:100] + b"\xff" * (len(whole) - 100),
            "cut": whole[: len(whole) // 2],
            "no database": b"something else",
        }[damage]
    )
    second = start_server(first.data)
    second.keys = first.keys
    give_up = time.monotonic() + 60
    while (answer := call(second, "history")).status_code == 503:
        assert time.monotonic() < give_up
    assert answer.json()["result"] == [1]
    assert path.with_name("insight.sqlite.damaged").exists()
    assert second.stop() == 0
    assert "insight.sqlite.damaged, and what it held begins anew" in second.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: not root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as out:
        while True:
            out.write(b"\0" * 65536)


def remembering() -> list[Any]:
    """A flow that saves the text it is sent, unless that is empty, and answers what it has."""

    def model(value: Any) -> Any:
        from penstock import get, save

        if value[0]:
            save("text", value[0])
        return [len(get("text"))]

    return [(model_type.PYTHON, model)]


def ask(server: Any, text: str, query: str = "") -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/default/full/predict{query}",
        json=[text],
        headers={"Authorization": server.keys["predict"]},
        timeout=30,
    )


def ended(server: Any, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(
        f"{server.url}/v1/default/runs/{run_id}?wait=30",
        headers={"Authorization": server.keys["predict"]},
        timeout=40,
    ).json()
    return found


def assert_full(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_full"), answer.text
    assert "space" in answer.json()["error"]["hint"]


def submit_until_refused(server: Any, size: int) -> list[str]:
    """Submit runs of so many bytes until one is refused; return the ids of those accepted.

    Some may be: a database has room in its own files for a while.
    """
    accepted = []
    while (answer := ask(server, "x" * size, "?async=true")).status_code == 202:
        accepted.append(answer.json()["run_id"])
        assert len(accepted) < 2000
    assert_full(answer)
    return accepted


def wait_for_samples(outcome: Outcome, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(outcome.samples) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stay_full(start_server: Start, disk: Path, seconds: int) -> None:
    """Fill the disk under a server for so long; it answers, refuses, and recovers by itself."""
    live = start_server(disk / "data")
    put(live, remembering(), "full")
    assert ask(live, "first").json()["result"] == [5]
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    with pytest.raises(PenstockError) as refused:
        put(live, answering(2), "full")
    assert refused.value.code == "disk_full"
    # Small inputs are kept in the database, large ones as files.
    accepted = submit_until_refused(live, 50_000) + submit_until_refused(live, 100_000)
    assert_full(ask(live, "x" * 200_000))
    url = f"{live.url}/v1/default/full/predict"
    with Background(url, live.keys["predict"], 20.0, lambda _: b'[""]') as outcome:
        for second in range(1, seconds + 1):
            wait_for_samples(outcome, 20 * second)
            assert_full(ask(live, "x" * 200_000, "?async=true"))
            print(f"\r{second} of {seconds} s on a full disk", end="", flush=True)
    assert outcome.failed == []
    filler.unlink()
    for run_id in accepted:
        assert ended(live, run_id)["state"] == "succeeded"
    later = ask(live, "x" * 100_000, "?async=true").json()["run_id"]
    assert ended(live, later)["result"] == [100_000]
    assert ask(live, "").json()["result"] == [100_000]
    put(live, answering(3), "full")
    assert call(live, "full").json()["result"] == [3]
    assert live.stop() == 0
    # The file system is so small that this alone is worth a word.
    assert [found["subject"] for found in problems(disk / "data")] == ["disk"]
    print(f"\n{len(outcome.samples)} calls on a full disk, none failed; all else was refused")


def test_a_full_disk_refuses_what_must_be_kept_and_goes_on_answering(
    start_server: Start, small_disk: Path
) -> None:
    stay_full(start_server, small_disk, 1)


@pytest.mark.soak
def test_a_disk_that_is_full_for_five_minutes(start_server: Start, small_disk: Path) -> None:
    stay_full(start_server, small_disk, 300)
