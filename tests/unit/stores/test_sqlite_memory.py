from __future__ import annotations

import sqlite3

import pytest

from penstock.core.errors import StoreError
from penstock.stores.base import MemoryWrite
from penstock.stores.sqlite_memory import SqliteMemory

HERE = ("default", "flow")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.sqlite"


def test_stamps_go_on_above_the_reserved_block_after_a_crash(path, monkeypatch):
    monkeypatch.setattr("penstock.stores.sqlite_memory.STAMP_BLOCK", 3)
    stamps = []
    for _ in range(3):
        store = SqliteMemory(path)
        stamps += [store.publish(HERE, [MemoryWrite("a", b"x")], 1.0) for _ in range(5)]
        store.close()
    assert stamps == sorted(set(stamps))


def test_a_memory_file_of_a_newer_penstock_is_refused(path):
    SqliteMemory(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="schema 99"):
        SqliteMemory(path)


def test_a_damaged_memory_file_is_a_store_error(path):
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="backup"):
        SqliteMemory(path)


def test_a_second_connection_is_refused(path, monkeypatch):
    monkeypatch.setattr("penstock.stores.sqlite_engine.BUSY_TIMEOUT_MS", 10)
    store = SqliteMemory(path)
    with pytest.raises(StoreError, match="in use by another process"):
        SqliteMemory(path)
    store.close()


def test_a_full_disk_is_a_store_error_and_nothing_is_half_written(path):
    store = SqliteMemory(path)
    store.publish(HERE, [MemoryWrite("a", b"x")], 1.0)
    limit = store._db.execute("PRAGMA max_page_count=20").fetchone()[0]
    with pytest.raises(StoreError, match=r"is full.*Free some space"):
        store.publish(HERE, [MemoryWrite("a", b"y"), MemoryWrite("b", b"x" * limit * 4096)], 1.0)
    assert store.names(HERE, 1.0) == ["a"]
    assert store.read(HERE, "a", 1.0).value == b"x"
    store.publish(HERE, [MemoryWrite("a", b"z")], 1.0)
    store.close()


def test_calls_after_close_are_store_errors(path):
    store = SqliteMemory(path)
    store.close()
    for call in (
        lambda: store.read(HERE, "a", 1.0),
        lambda: store.names(HERE, 1.0),
        lambda: store.publish(HERE, [], 1.0),
    ):
        with pytest.raises(StoreError):
            call()
