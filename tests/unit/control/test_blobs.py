from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import pytest

from penstock.codec.bundle import Blob, Interpreter, Manifest, StageEntry, write_manifest
from penstock.control.blobs import PIECE_BYTES
from penstock.core.errors import BlobCorrupt, BodyTooLarge, InvalidManifest, InvalidName
from penstock.core.records import VersionSettings

DATA = os.urandom(1000) * 3000
NAME = hashlib.sha256(DATA).hexdigest()
LIMIT = 10 * 1024 * 1024


async def chunks_of(data: bytes, size: int = 65536):
    for start in range(0, len(data), size):
        yield data[start : start + size]


def files_under(folder) -> list[str]:
    return sorted(p.name for p in (folder / "blobs").rglob("*") if p.is_file())


async def add_version(parts, manifest: bytes) -> None:
    await parts.projects.ensure("default")
    await parts.database.call(
        parts.database.records.add_version,
        project="default",
        deployment="flow",
        manifest=manifest,
        settings=VersionSettings(),
        size_bytes=1,
        created_at=1.0,
        created_by="key",
    )


def manifest_of(sha256: str) -> bytes:
    stage = StageEntry("torch", Blob("model.pt", sha256, len(DATA)))
    return write_manifest(Manifest(Interpreter("cpython", "3.11", "aa", "linux"), [stage]))


@pytest.mark.parametrize("size", [1000, 65536, PIECE_BYTES, len(DATA)])
def test_an_upload_is_stored_whatever_its_chunks(with_parts, size):
    async def scenario(parts):
        assert await parts.blobs.missing([NAME]) == [NAME]
        assert await parts.blobs.put("default", NAME, chunks_of(DATA, size), len(DATA)) == len(DATA)
        assert await parts.blobs.missing([NAME]) == []
        assert parts.store.read(NAME) == DATA

    with_parts(scenario)


def test_an_empty_upload_is_a_blob_too(with_parts):
    async def scenario(parts):
        name = hashlib.sha256(b"").hexdigest()
        assert await parts.blobs.put("default", name, chunks_of(b""), LIMIT) == 0
        assert parts.store.read(name) == b""

    with_parts(scenario)


def test_bytes_over_the_limit_are_not_taken(with_parts):
    async def scenario(parts):
        taken = []

        async def endless():
            while True:
                taken.append(1)
                yield b"x" * 65536

        with pytest.raises(BodyTooLarge, match=str(LIMIT)):
            await parts.blobs.put("default", NAME, endless(), LIMIT)
        assert len(taken) * 65536 <= LIMIT + 65536
        assert files_under(parts.folder) == []

    with_parts(scenario)


def test_bytes_of_another_hash_are_refused_and_nothing_is_kept(with_parts):
    async def scenario(parts):
        with pytest.raises(BlobCorrupt, match=NAME):
            await parts.blobs.put("default", NAME, chunks_of(DATA[1:]), LIMIT)
        assert files_under(parts.folder) == []

    with_parts(scenario)


def test_a_name_that_is_no_hash_takes_no_byte(with_parts):
    async def scenario(parts):
        for name in ("../../x", "A" * 64):
            with pytest.raises(InvalidName):
                await parts.blobs.put("default", name, chunks_of(DATA), LIMIT)
            with pytest.raises(InvalidName):
                await parts.blobs.missing([NAME, name])

    with_parts(scenario)


def test_an_upload_that_breaks_off_leaves_nothing(with_parts):
    async def scenario(parts):
        async def broken():
            async for chunk in chunks_of(DATA):
                yield chunk
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await parts.blobs.put("default", NAME, broken(), LIMIT)
        assert files_under(parts.folder) == []

    with_parts(scenario)


def test_a_cancelled_upload_leaves_nothing(with_parts):
    async def scenario(parts):
        begun = asyncio.Event()

        async def stuck():
            yield DATA[: PIECE_BYTES + 1]
            begun.set()
            await asyncio.Event().wait()

        upload = asyncio.ensure_future(parts.blobs.put("default", NAME, stuck(), LIMIT))
        await asyncio.wait_for(begun.wait(), 10)
        assert len(files_under(parts.folder)) == 1
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert files_under(parts.folder) == []

    with_parts(scenario)


def test_an_upload_cancelled_inside_a_write_waits_for_it_and_leaves_nothing(
    with_parts, monkeypatch
):
    async def scenario(parts):
        inside, release, write = threading.Event(), threading.Event(), os.write

        def slow_write(descriptor, data):
            inside.set()
            assert release.wait(10)
            return write(descriptor, data)

        monkeypatch.setattr("penstock.stores.file_writer.os.write", slow_write)
        upload = asyncio.ensure_future(parts.blobs.put("default", NAME, chunks_of(DATA), LIMIT))
        assert await asyncio.to_thread(inside.wait, 10)
        upload.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert files_under(parts.folder) == []

    with_parts(scenario)


def test_collect_keeps_what_a_version_uses_and_what_is_new(with_parts):
    async def scenario(parts):
        await parts.blobs.put("default", NAME, chunks_of(DATA), LIMIT)
        unused = hashlib.sha256(b"unused").hexdigest()
        await parts.blobs.put("default", unused, chunks_of(b"unused"), LIMIT)
        await add_version(parts, manifest_of(NAME))
        assert await parts.blobs.collect() == 0
        for name in (NAME, unused):
            os.utime(parts.store.path(name), (1.0, 1.0))

    async def after_restart(parts):
        assert await parts.blobs.collect() == len(b"unused")
        assert files_under(parts.folder) == [NAME]

    with_parts(scenario)
    with_parts(after_restart)


def test_collect_deletes_nothing_if_a_manifest_cannot_be_read(with_parts):
    async def scenario(parts):
        await parts.blobs.put("default", NAME, chunks_of(DATA), LIMIT)
        os.utime(parts.store.path(NAME), (1.0, 1.0))
        await add_version(parts, b"{}")

    async def after_restart(parts):
        with pytest.raises(InvalidManifest):
            await parts.blobs.collect()
        assert files_under(parts.folder) == [NAME]

    with_parts(scenario)
    with_parts(after_restart)
