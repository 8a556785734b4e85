"""`penstock doctor`: what it finds, what it says to do, and its exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from versioned import put

from penstock import model_type

Start = Callable[..., Any]


def doctor(*arguments: str, **environment: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status and the findings."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr, done.stderr
    said = json.loads(done.stdout)
    assert ("error" in said) is (done.returncode == 2)
    return done.returncode, said.get("findings", [])


def problems(findings: list[dict[str, str]]) -> list[dict[str, str]]:
    return [f for f in findings if f["level"] == "problem"]


def identity() -> list[Any]:
    def model(value: Any) -> Any:
        return value

    return [(model_type.PYTHON, model)]


@pytest.fixture(scope="module")
def left(launch_server: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that a server left, which had one deployment, `flow`."""
    live = launch_server(tmp_path_factory.mktemp("left") / "data")
    put(live, identity(), "flow")
    assert live.stop() == 0
    data: Path = live.data
    return data


@pytest.fixture
def data(left: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(left, tmp_path / "data", symlinks=True))


def test_a_folder_that_is_well_has_no_problem(data: Path) -> None:
    status, findings = doctor(f"--data={data}")
    assert (status, problems(findings)) == (0, [])
    subjects = {f["subject"] for f in findings}
    assert {"history", "records", "memory", "versions", "files", "permissions", "disk"} <= subjects
    assert {"sqlite", "kernel", "python", "libraries"} <= subjects


def test_each_thing_that_is_wrong_is_named_with_what_to_do(data: Path) -> None:
    first, second, *_ = sorted((data / "blobs").glob("??/*"))
    first.chmod(0o644)
    first.write_bytes(b"something else")
    second.unlink()
    (data / "memory.sqlite").chmod(0o644)
    status, findings = doctor(f"--data={data}")
    found = problems(findings)
    assert status == 1
    assert all(f["advice"] for f in found)
    text = "\n".join(f["message"] for f in found)
    assert f"{first.name} has changed on the disk" in text
    assert f"{second.name} is missing" in text
    assert "default/flow version 1" in text
    assert "memory.sqlite can be used by others" in text


def test_lost_files_of_runs_and_uploads_are_named_with_what_to_do(start_server: Start) -> None:
    live = start_server()

    def hand_out(data: Any) -> Any:
        from penstock import upload

        with open("picture.png", "wb") as file:
            file.write(b"not really")
        return [upload("picture.png"), data]

    endpoint = put(live, [(model_type.PYTHON, hand_out)], "lost")
    run = endpoint.submit(["x" * 100_000]).wait(30)  # too large for the row: kept as files
    assert run.state == "succeeded"
    assert live.stop() == 0
    before = "\n".join(f["message"] for f in doctor(f"--data={live.data}")[1])
    assert "are used by nothing" not in before
    for path in [*(live.data / "blobs").glob("??/*"), *(live.data / "files").glob("??/*")]:
        path.unlink()
    status, findings = doctor(f"--data={live.data}")
    said = {f["message"].partition("; it is ")[2]: f["advice"] for f in problems(findings)}
    assert status == 1
    whose = f"run {run.run_id} of default/lost."
    assert said[f"the input of {whose}"] == "Submit the run again. Check the disk."
    assert said[f"the result of {whose}"] == "Submit the run again. Check the disk."
    assert "Make the call" in said["picture.png of default/lost."]


def test_a_damaged_history_is_a_problem_that_loses_only_the_past(data: Path) -> None:
    (data / "insight.sqlite").write_bytes(b"something else")
    said = problems(doctor(f"--data={data}")[1])
    assert [f["subject"] for f in said] == ["history"]
    assert "sets it aside at its next start" in said[0]["advice"]


def test_a_damaged_database_is_a_problem(data: Path) -> None:
    path = data / "records.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    status, findings = doctor(f"--data={data}")
    assert status == 1
    assert "records" in {f["subject"] for f in problems(findings)}


def test_a_folder_in_use_is_examined_as_far_as_can_be(server: Any) -> None:
    status, findings = doctor(f"--data={server.data}")
    (said,) = (f for f in findings if f["subject"] == "folder")
    assert said["level"] == "warning"
    assert f"process {server.pid}" in said["message"]
    assert "files" in {f["subject"] for f in findings}
    assert status == 0


def test_a_running_server_is_asked(server: Any) -> None:
    put(server, identity(), "asked")
    status, findings = doctor(f"--server={server.url}", PENSTOCK_API_KEY=server.keys["deploy"])
    assert status in {0, 1}
    assert any("default/asked is active" in f["message"] for f in findings)


def test_nothing_to_examine_is_status_2(tmp_path: Path) -> None:
    assert doctor(f"--data={tmp_path / 'nowhere'}")[0] == 2
    assert doctor("--server=http://127.0.0.1:9")[0] == 2
