"""Writes to one kind of store for ever and prints what was acknowledged, until it is killed.

Usage: store_writer.py <records|memory|blobs> <implementation> <folder> <first number>

Also the list of implementations that the contract tests run over.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sys
import time
from pathlib import Path

from penstock.core.errors import Conflict
from penstock.core.records import ProjectRecord, VersionSettings
from penstock.stores.base import MemoryQuota, MemoryWrite
from penstock.stores.files import FileBlobs
from penstock.stores.memory_cache import MemoryCache
from penstock.stores.postgres_records import PostgresRecords
from penstock.stores.postgres_url import read_url
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords

NAMESPACE = ("default", "flow")


def sqlite_memory(folder: Path, quota: MemoryQuota | None = None) -> SqliteMemory:
    return SqliteMemory(folder / "memory.sqlite", quota)


def cached_memory(folder: Path, quota: MemoryQuota | None = None) -> MemoryCache:
    return MemoryCache(sqlite_memory(folder, quota))


#: File in the folder of a test that has the address of its database.
POSTGRES_URL = "postgres.url"


def postgres_records(folder: Path) -> PostgresRecords:
    return PostgresRecords(read_url((folder / POSTGRES_URL).read_text()))


RECORDS = {
    "sqlite": lambda folder: SqliteRecords(folder / "records.sqlite"),
    "postgres": postgres_records,
}
BLOBS = {"files": lambda folder: FileBlobs(folder / "blobs")}
MEMORY = {"sqlite": sqlite_memory, "sqlite-cached": cached_memory}


def blob_bytes(number: int) -> bytes:
    """Return the bytes of the blob with a number: 0 to 600 KiB, all of them different."""
    return f"{number:08d}".encode() * (number * 7919 % 75_000 + 1)


def write_records(store, number: int) -> None:
    store.add_version(
        project="default",
        deployment="flow",
        manifest=str(number).encode(),
        settings=VersionSettings(),
        size_bytes=number,
        created_at=time.time(),
        created_by="writer",
    )


def write_memory(store, number: int) -> None:
    """Write two names and a count: a reader must find all of one number or none."""
    value = str(number).encode() * 50
    writes = [MemoryWrite(f"left-{number}", value), MemoryWrite(f"right-{number}", value)]
    store.publish(NAMESPACE, writes, now=1.0)
    store.increment(NAMESPACE, "count", 1, now=1.0)


def write_blob(store, number: int) -> None:
    data = blob_bytes(number)
    writer = store.begin(hashlib.sha256(data).hexdigest())
    for start in range(0, len(data), 65536):
        writer.write(data[start : start + 65536])
    writer.commit()


def main() -> None:
    kind, implementation, folder, first = sys.argv[1:]
    kinds = {"records": RECORDS, "memory": MEMORY, "blobs": BLOBS}
    write = {"records": write_records, "memory": write_memory, "blobs": write_blob}[kind]
    store = kinds[kind][implementation](Path(folder))
    if kind == "records":
        with contextlib.suppress(Conflict):
            store.add_project(ProjectRecord("default", 1.0))
    for number in itertools.count(int(first)):
        write(store, number)
        print(number, flush=True)


if __name__ == "__main__":
    main()
