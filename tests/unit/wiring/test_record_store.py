"""A data folder stays with its records: what no record names is deleted in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.core.errors import StoreError
from penstock.server.settings import Settings
from penstock.stores.sqlite_records import SqliteRecords
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.record_store import record_opener


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    with DataFolder(tmp_path / "data") as folder:
        yield folder


def open_and_close(folder: DataFolder) -> None:
    record_opener(Settings(), folder)().close()


def test_a_folder_and_its_records_know_each_other_from_the_first_start(folder: DataFolder) -> None:
    open_and_close(folder)
    first = folder.known_id()
    assert first
    assert folder.id_file.stat().st_mode & 0o077 == 0
    open_and_close(folder)
    assert folder.known_id() == first


def test_a_start_without_the_folder_s_records_is_refused_and_makes_no_new_ones(
    folder: DataFolder,
) -> None:
    open_and_close(folder)
    folder.records.rename(folder.records.with_suffix(".away"))
    with pytest.raises(StoreError, match=r"records\.sqlite is gone"):
        open_and_close(folder)
    assert not folder.records.exists()
    folder.records.with_suffix(".away").rename(folder.records)
    open_and_close(folder)


def test_the_records_of_another_folder_are_refused(folder: DataFolder, tmp_path: Path) -> None:
    open_and_close(folder)
    with DataFolder(tmp_path / "other") as other:
        open_and_close(other)
        folder.records.replace(other.records)
        with pytest.raises(StoreError, match="does not have the records of the data folder"):
            open_and_close(other)


def test_whoever_gives_the_files_up_may_begin_anew(folder: DataFolder) -> None:
    open_and_close(folder)
    folder.records.unlink()
    folder.id_file.unlink()
    open_and_close(folder)
    assert folder.known_id()


def test_a_folder_whose_id_was_lost_takes_that_of_its_records(folder: DataFolder) -> None:
    open_and_close(folder)
    first = folder.known_id()
    folder.id_file.unlink()
    open_and_close(folder)
    assert folder.known_id() == first


def test_an_id_that_cannot_be_read_keeps_the_records_shut(folder: DataFolder) -> None:
    open_and_close(folder)
    folder.id_file.write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match=r"folder\.id cannot be read"):
        open_and_close(folder)
    with closing(SqliteRecords(folder.records)):
        pass
