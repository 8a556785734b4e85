"""A project takes no more of the disk than it may."""

from __future__ import annotations

import hashlib

import pytest

from penstock.codec.bundle import Blob, Interpreter, Manifest, StageEntry, write_manifest
from penstock.control.storage import Storage
from penstock.core.errors import StorageFull
from penstock.core.records import VersionSettings


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def chunks(data: bytes):
    yield data


def manifest_of(data: bytes) -> Manifest:
    model = Blob("model.pt", name_of(data), len(data))
    return Manifest(Interpreter.current(), [StageEntry("torch", model)])


def test_uploads_stop_at_the_quota_and_other_projects_have_their_own(with_parts):
    async def story(parts):
        first, second = b"a" * 60, b"b" * 60
        await parts.blobs.put("one", name_of(first), chunks(first), 1000)
        with pytest.raises(StorageFull, match="'one' take all they may; the limit is 100"):
            await parts.blobs.put("one", name_of(second), chunks(second), 1000)
        assert parts.store.missing([name_of(second)]) == [name_of(second)]
        await parts.blobs.put("two", name_of(second), chunks(second), 1000)

    with_parts(story, storage_bytes=100)


def test_the_same_file_counts_once(with_parts):
    async def story(parts):
        data = b"a" * 80
        for _ in range(3):
            await parts.blobs.put("one", name_of(data), chunks(data), 1000)
        storage = Storage(parts.database, 100)
        storage.uploaded("one", name_of(data), len(data))
        await storage.check_bundle("one", manifest_of(data))

    with_parts(story, storage_bytes=100)


def test_an_upload_that_no_version_uses_counts_for_an_hour(with_parts):
    async def story(parts):
        data, more = b"a" * 80, b"b" * 80
        await parts.blobs.put("one", name_of(data), chunks(data), 1000)
        parts.clock.time += 3601
        await parts.blobs.put("one", name_of(more), chunks(more), 1000)

    with_parts(story, storage_bytes=100)


def test_the_files_of_versions_count_as_long_as_the_versions_are_there(with_parts):
    async def story(parts):
        await parts.projects.add("one")
        data, more = b"a" * 80, b"b" * 80
        await parts.database.call(
            parts.database.records.add_version,
            project="one",
            deployment="flow",
            manifest=write_manifest(manifest_of(data)),
            settings=VersionSettings(),
            size_bytes=80,
            created_at=0.0,
            created_by="me",
        )
        storage = Storage(parts.database, 100, parts.clock)
        with pytest.raises(StorageFull, match="would take 160 bytes"):
            await storage.check_bundle("one", manifest_of(more))
        await storage.check_bundle("one", manifest_of(data))
        assert await storage.room("one", name_of(more)) == 20
        await parts.database.call(parts.database.records.delete_deployment, "one", "flow")
        await storage.check_bundle("one", manifest_of(more))

    with_parts(story)
