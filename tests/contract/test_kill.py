"""`kill -9` of a process in the middle of writing: what was acknowledged is there, whole."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

ROUNDS = 4


def write_until_killed(program, kind: str, implementation: str, folder, first: int, count: int):
    """Run the writer until it acknowledged `count` writes and kill it; return all it said."""
    process = subprocess.Popen(
        [sys.executable, str(program), kind, implementation, str(folder), str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )
    said = []
    with process:
        for line in process.stdout:
            said.append(int(line))
            if len(said) == count:
                break
        # Somewhere inside the next writes, not just after an acknowledgement.
        until = time.perf_counter() + random.uniform(0, 0.003)
        while time.perf_counter() < until:
            pass
        process.send_signal(signal.SIGKILL)
        said.extend(int(line) for line in process.stdout if line.endswith("\n"))
    assert process.returncode == -signal.SIGKILL
    assert said == list(range(first, first + len(said)))
    return said


def all_rounds(program, kind: str, opener, check) -> None:
    random.seed(20261123)
    said: list[int] = []
    for _ in range(ROUNDS):
        # Numbers go on behind the writes that were made but not acknowledged.
        first = said[-1] + 3 if said else 1
        count = random.randint(5, 60)
        said += write_until_killed(
            program, kind, opener.implementation, opener.folder, first, count
        )
        check(opener(), said)
        opener.close()


def check_integrity(path) -> None:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def test_acknowledged_versions_survive_a_kill(open_records, writer_program):
    def check(store, said: list[int]) -> None:
        versions = store.get_deployment("default", "flow").versions
        assert {str(number).encode() for number in said} <= {v.manifest for v in versions}
        assert [v.number for v in versions] == list(range(1, len(versions) + 1))

    all_rounds(writer_program, "records", open_records, check)
    for path in open_records.folder.glob("*.sqlite"):
        check_integrity(path)


def test_acknowledged_memory_survives_a_kill(open_memory, writer_program, stores):
    def check(store, said: list[int]) -> None:
        names = set(store.names(stores.NAMESPACE, 1.0))
        assert {f"left-{number}" for number in said} <= names
        lefts = {n.removeprefix("left-") for n in names if n.startswith("left-")}
        rights = {n.removeprefix("right-") for n in names if n.startswith("right-")}
        assert lefts == rights
        count = store.read(stores.NAMESPACE, "count", 1.0).number
        assert len(said) <= count <= len(lefts)
        for number in said:
            item = store.read(stores.NAMESPACE, f"right-{number}", 1.0)
            assert item.value == str(number).encode() * 50

    all_rounds(writer_program, "memory", open_memory, check)
    for path in open_memory.folder.glob("*.sqlite"):
        check_integrity(path)


def test_acknowledged_blobs_survive_a_kill_and_none_is_half_there(
    open_blobs, writer_program, stores
):
    def check(store, said: list[int]) -> None:
        for number in range(1, said[-1] + 3):
            data = stores.blob_bytes(number)
            name = hashlib.sha256(data).hexdigest()
            assert store.has(name) or number not in said
            if store.has(name):
                assert store.read(name) == data

    all_rounds(writer_program, "blobs", open_blobs, check)


def test_a_second_process_on_the_same_records_is_refused(open_records, records, writer_program):
    command = [sys.executable, str(writer_program), "records", open_records.implementation]
    process = subprocess.run(
        [*command, str(open_records.folder), "1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.returncode == 1
    assert "is in use by another process" in process.stderr
    assert process.stdout == ""
    assert pytest.approx(records.get_project("default").created_at) == 1.0
