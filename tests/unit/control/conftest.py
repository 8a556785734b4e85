"""Control parts over real stores in a fresh folder."""

from __future__ import annotations

import asyncio
import types

import pytest

from penstock.control.blobs import Blobs
from penstock.control.database import Database
from penstock.control.keys import Keys
from penstock.control.memory import Memory
from penstock.control.projects import Projects
from penstock.control.rate_limits import RateLimits
from penstock.control.secrets import Secrets
from penstock.control.storage import Storage
from penstock.stores.base import MemoryQuota
from penstock.stores.files import FileBlobs
from penstock.stores.keyring import Keyring
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def with_parts(tmp_path):
    """Run `scenario(parts)` on an event loop; called again, it is the server's next start."""

    def run(
        scenario,
        quota: MemoryQuota | None = None,
        storage_bytes: int = 0,
        keys_given: str = "",
        limits: RateLimits | None = None,
    ):
        async def whole():
            clock = Clock()
            database = await Database.open(
                lambda: SqliteRecords(tmp_path / "records.sqlite"),
                lambda: SqliteMemory(tmp_path / "memory.sqlite", quota),
            )
            try:
                projects = Projects(database, clock)
                keys = Keys(database, projects, clock, limits)
                await keys.load()
                store = FileBlobs(tmp_path / "blobs")
                parts = types.SimpleNamespace(
                    clock=clock,
                    database=database,
                    projects=projects,
                    keys=keys,
                    store=store,
                    blobs=Blobs(store, database, Storage(database, storage_bytes, clock)),
                    secrets=Secrets(
                        database, Keyring(tmp_path / "secrets.keys", keys_given), clock
                    ),
                    memory=Memory(database, clock),
                    folder=tmp_path,
                )
                return await scenario(parts)
            finally:
                await database.close()

        return asyncio.run(asyncio.wait_for(whole(), 30))

    return run
