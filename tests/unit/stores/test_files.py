from __future__ import annotations

import hashlib

import pytest

from penstock.core.errors import StoreError
from penstock.stores import files
from penstock.stores.files import FileBlobs

DATA = b"some bytes"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


def put(blobs) -> None:
    writer = blobs.begin(NAME)
    writer.write(DATA)
    writer.commit()


def test_a_blob_lies_under_its_first_two_digits(blobs, tmp_path):
    put(blobs)
    assert blobs.path(NAME) == tmp_path / "blobs" / NAME[:2] / NAME


def test_an_unchanged_blob_is_hashed_once(blobs, tmp_path, monkeypatch):
    put(blobs)
    again = FileBlobs(tmp_path / "blobs")
    hashed = []
    whole = files._Descriptor.digest
    monkeypatch.setattr(files._Descriptor, "digest", lambda d: hashed.append(1) or whole(d))
    for _ in range(3):
        again.path(NAME)
    assert len(hashed) == 1
    (tmp_path / "blobs" / NAME[:2] / NAME).touch()
    again.path(NAME)
    assert len(hashed) == 2


def test_a_link_in_the_place_of_a_blob_is_not_followed(blobs, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    place = tmp_path / "blobs" / NAME[:2] / NAME
    place.parent.mkdir()
    place.symlink_to(outside)
    assert not blobs.has(NAME)
    for access in (blobs.path, blobs.read):
        with pytest.raises(StoreError, match="Opening the stored file"):
            access(NAME)


def test_collect_touches_nothing_but_blobs(blobs, tmp_path):
    put(blobs)
    foreign = tmp_path / "blobs" / "notes"
    foreign.mkdir()
    (foreign / "readme").write_bytes(b"mine")
    assert blobs.collect(frozenset(), 1e12) == len(DATA)
    assert (foreign / "readme").exists()


def test_a_writer_without_bytes_leaves_no_file(blobs, tmp_path):
    blobs.begin(NAME).abort()
    blobs.begin(NAME)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
