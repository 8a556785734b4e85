from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from penstock.core.errors import DiskFull, StoreError
from penstock.stores.failures import database_failure, disk_failure
from penstock.stores.files import FileBlobs

PATH = Path("data") / "records.sqlite"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("database is locked", "another process"),
        ("database or disk is full", "Free some space"),
        ("disk I/O error", "Check the disk"),
        ("database disk image is malformed", "backup"),
        ("file is not a database", "backup"),
        ("attempt to write a readonly database", "write access"),
        ("unable to open database file", "data folder exists"),
        ("something nobody thought of", "something nobody thought of"),
    ],
)
def test_each_known_failure_names_the_file_and_says_what_to_do(text, said):
    error = database_failure(sqlite3.OperationalError(text), PATH)
    assert isinstance(error, StoreError)
    assert said in str(error)
    assert str(PATH) in str(error)


def test_a_full_disk_is_told_from_other_failures():
    full = database_failure(sqlite3.OperationalError("database or disk is full"), PATH)
    broken = database_failure(sqlite3.OperationalError("disk I/O error"), PATH)
    assert (type(full), type(broken)) == (DiskFull, StoreError)
    for number, kind in (
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, StoreError),
    ):
        assert type(disk_failure(OSError(number, "said"), "Writing")) is kind


def test_a_disk_failure_says_what_was_being_done():
    error = disk_failure(OSError(errno.ENOSPC, "No space left on device"), "Writing the file x")
    assert str(error).startswith("Writing the file x failed: No space left on device.")
    assert "Free some space" in str(error)


def test_a_blob_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="blob folder"):
        FileBlobs(tmp_path / "file" / "blobs")
