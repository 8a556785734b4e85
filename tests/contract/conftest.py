"""Every store implementation, opened in a fresh folder and again when a test asks for it."""

from __future__ import annotations

import runpy
import types
from pathlib import Path

import pytest

from penstock.core.records import ProjectRecord
from penstock.stores.schema import metadata

PROGRAM = Path(__file__).parent.parent / "programs" / "store_writer.py"
STORES = types.SimpleNamespace(**runpy.run_path(str(PROGRAM)))


class Opener:
    """Opens stores of one implementation in one folder; `reopen` closes the one before."""

    def __init__(self, implementation: str, make, folder: Path) -> None:
        self.implementation = implementation
        self.folder = folder
        self._make = make
        self._open = None

    def __call__(self, **options):
        self.close()
        self._open = self._make(self.folder, **options)
        return self._open

    def close(self) -> None:
        close = getattr(self._open, "close", None)  # blob stores have nothing to close
        self._open = None
        if close is not None:
            close()


def _opener(request, tmp_path, kinds):
    opener = Opener(request.param, kinds[request.param], tmp_path)
    yield opener
    opener.close()


@pytest.fixture(scope="session")
def postgres_database(postgres) -> str:
    """The one database of the contract tests: making a new one takes half a second."""
    return postgres.new_database()


def empty_postgres(postgres, database: str) -> str:
    """Return the address of the database after deleting every row, as far as there are tables."""
    [(made,)] = postgres.execute(database, "SELECT to_regclass('projects') IS NOT NULL")
    if made:
        postgres.execute(
            database, *(f"DELETE FROM {t.name}" for t in reversed(metadata.sorted_tables))
        )
    return postgres.url(database)


@pytest.fixture(params=list(STORES.RECORDS))
def open_records(request, tmp_path):
    if request.param == "postgres":
        names = ("postgres", "postgres_database")
        url = empty_postgres(*map(request.getfixturevalue, names))
        (tmp_path / STORES.POSTGRES_URL).write_text(url)
    yield from _opener(request, tmp_path, STORES.RECORDS)


@pytest.fixture(params=list(STORES.BLOBS))
def open_blobs(request, tmp_path):
    yield from _opener(request, tmp_path, STORES.BLOBS)


@pytest.fixture(params=list(STORES.MEMORY))
def open_memory(request, tmp_path):
    yield from _opener(request, tmp_path, STORES.MEMORY)


@pytest.fixture
def records(open_records):
    """A record store with the projects `default` and `other`."""
    store = open_records()
    store.add_project(ProjectRecord("default", 1.0))
    store.add_project(ProjectRecord("other", 2.0))
    return store


@pytest.fixture
def blobs(open_blobs):
    return open_blobs()


@pytest.fixture
def memory(open_memory):
    return open_memory()


@pytest.fixture
def stores():
    """The functions and tables of `tests/programs/store_writer.py`."""
    return STORES


@pytest.fixture
def writer_program() -> Path:
    return PROGRAM
