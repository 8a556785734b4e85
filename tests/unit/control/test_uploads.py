"""Uploaded files: copied from a descriptor, linked to, opened by link, cleared away."""

from __future__ import annotations

import asyncio
import os
import types
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from penstock.codec.memory import Upload
from penstock.control.database import Database
from penstock.control.file_links import FileLinks, offered_name
from penstock.control.uploads import UploadLimits, Uploads
from penstock.core.errors import (
    FileQuotaExceeded,
    Forbidden,
    Gone,
    NotFound,
    StoreError,
    UploadFailed,
)
from penstock.core.records import ProjectRecord
from penstock.engine.base import VersionKey
from penstock.stores.files import FileBlobs
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords

KEY = VersionKey("default", "flow", 1)
LIMITS = UploadLimits(ttl_s=100.0, max_ttl_s=1000.0, file_bytes=50_000, total_bytes=100_000)


@pytest.fixture
def with_uploads(tmp_path):
    def run(story) -> None:
        async def whole() -> None:
            database = await Database.open(
                lambda: SqliteRecords(tmp_path / "records.sqlite"),
                lambda: SqliteMemory(tmp_path / "memory.sqlite"),
            )
            await database.call(database.records.add_project, ProjectRecord("default", 1.0))
            clock = types.SimpleNamespace(time=1000.0)
            store = FileBlobs(tmp_path / "files")
            links = FileLinks("http://here", b"s" * 32)
            uploads = Uploads(database, store, links, LIMITS, lambda: clock.time)
            try:
                await story(types.SimpleNamespace(
                    uploads=uploads, clock=clock, folder=tmp_path, database=database
                ))  # fmt: skip
            finally:
                await database.close()

        asyncio.run(asyncio.wait_for(whole(), 20))

    return run


async def send(site, data: bytes, name: str = "plot.png", ttl: float | None = None) -> str:
    path = site.folder / "source"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        return (await site.uploads.answer(KEY, Upload(name, ttl, fd))).url
    finally:
        os.close(fd)


def parts(url: str) -> tuple[str, str, str, str, str]:
    split = urlsplit(url)
    _, _v1, project, _files, file_id, name = split.path.split("/")
    query = parse_qs(split.query)
    return project, file_id, unquote(name), query["expires"][0], query["signature"][0]


def test_a_file_is_copied_whole_from_its_beginning_and_served_by_its_link(with_uploads) -> None:
    async def story(site) -> None:
        data = os.urandom(50_000)
        url = await send(site, data, "Grüße von 100 %.png")
        assert url.startswith("http://here/v1/default/files/file_")
        upload, path = await site.uploads.open(*parts(url))
        assert path.read_bytes() == data
        assert (upload.name, upload.size) == ("Grüße von 100 %.png", 50_000)
        assert upload.expires_at == 1100.0

    with_uploads(story)


def test_an_empty_file_is_a_file_and_equal_files_are_kept_once(with_uploads) -> None:
    async def story(site) -> None:
        urls = [await send(site, b"") for _ in range(2)]
        paths = {(await site.uploads.open(*parts(url)))[1] for url in urls}
        assert len(paths) == 1
        assert len(set(urls)) == 2

    with_uploads(story)


@pytest.mark.parametrize("part", range(5))
def test_a_link_that_was_changed_is_refused(with_uploads, part: int) -> None:
    async def story(site) -> None:
        given = list(parts(await send(site, b"x")))
        for changed in (given[part] + "0", "", given[part][1:], "é", "9" * 40):
            forged = [*given[:part], changed, *given[part + 1 :]]
            with pytest.raises(Forbidden):
                await site.uploads.open(*forged)

    with_uploads(story)


def test_a_link_of_another_server_is_refused(with_uploads) -> None:
    async def story(site) -> None:
        url = await send(site, b"x")
        site.uploads._links = FileLinks("http://here", b"t" * 32)
        with pytest.raises(Forbidden):
            await site.uploads.open(*parts(url))

    with_uploads(story)


def test_a_link_expires_as_asked_and_within_the_longest_time(with_uploads) -> None:
    async def story(site) -> None:
        usual, short, long = [await send(site, b"x", ttl=t) for t in (None, 5.0, 1e9)]
        site.clock.time = 1004.0
        await site.uploads.open(*parts(short))
        for at, url in ((1005.0, short), (1100.0, usual), (2000.0, long)):
            site.clock.time = at
            with pytest.raises(Gone, match="has expired"):
                await site.uploads.open(*parts(url))

    with_uploads(story)


def test_what_is_too_large_or_has_no_room_is_refused_before_it_is_copied(with_uploads) -> None:
    async def story(site) -> None:
        with pytest.raises(FileQuotaExceeded, match=r"50001 bytes; one file may have 50000"):
            await send(site, b"x" * 50_001)
        await send(site, b"a" * 50_000)
        await send(site, b"b" * 49_999)
        with pytest.raises(FileQuotaExceeded, match="files of project 'default' have 99999 bytes"):
            await send(site, b"cc")
        await send(site, b"c")
        assert len([p for p in (site.folder / "files").rglob("*") if p.is_file()]) == 3
        site.clock.time = 1100.0
        await send(site, b"a" * 50_000)

    with_uploads(story)


def test_only_a_regular_file_is_read(with_uploads) -> None:
    async def story(site) -> None:
        reading, writing = os.pipe()
        folder, zero = os.open(site.folder, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
        for fd in (reading, folder, zero):
            with pytest.raises(UploadFailed, match="not a regular file"):
                await site.uploads.answer(KEY, Upload("x", None, fd))
        for fd in (reading, writing, folder, zero):
            os.close(fd)

    with_uploads(story)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
def test_a_file_is_not_kept_for_no_time(with_uploads, ttl_s: float) -> None:
    async def story(site) -> None:
        with pytest.raises(UploadFailed, match="cannot be kept for"):
            await site.uploads.answer(KEY, Upload("x", ttl_s, -1))

    with_uploads(story)


def test_a_file_that_shrinks_or_changes_meanwhile_is_an_error_and_leaves_nothing(
    with_uploads, monkeypatch
) -> None:
    async def story(site) -> None:
        real, calls = os.pread, []

        def pread(fd, size, at):
            calls.append(at)
            return real(fd, size, at) if len(calls) == 1 else b"y" * size

        monkeypatch.setattr("penstock.control.uploads.os.pread", pread)
        with pytest.raises(UploadFailed, match="changed while it was uploaded"):
            await send(site, b"x" * 100)
        monkeypatch.setattr("penstock.control.uploads.os.pread", lambda *_: b"")
        with pytest.raises(UploadFailed, match="changed while it was uploaded"):
            await send(site, b"x" * 100)
        assert await site.uploads.list("default") == []
        assert [p for p in (site.folder / "files").rglob("*") if p.is_file()] == []

    with_uploads(story)


def test_files_are_listed_with_their_links_and_deleted(with_uploads) -> None:
    async def story(site) -> None:
        url = await send(site, b"x")
        ((upload, listed),) = await site.uploads.list("default")
        assert listed == url
        await site.uploads.delete("default", upload.file_id)
        with pytest.raises(Gone, match="was deleted"):
            await site.uploads.open(*parts(url))
        with pytest.raises(NotFound):
            await site.uploads.delete("default", upload.file_id)

    with_uploads(story)


def test_what_has_expired_is_cleared_away_and_nothing_else(with_uploads, monkeypatch) -> None:
    async def story(site) -> None:
        import time

        site.clock.time = time.time()
        await send(site, b"gone", ttl=10.0)
        kept = await send(site, b"kept", ttl=1000.0)
        site.clock.time += 20
        assert await site.uploads.purge() == 0, "a fresh file may be about to get its entry"
        monkeypatch.setattr("penstock.control.uploads.UNUSED_S", -60.0)
        assert await site.uploads.purge() == 4
        assert (await site.uploads.open(*parts(kept)))[1].read_bytes() == b"kept"

    with_uploads(story)


def test_a_file_that_was_damaged_on_the_disk_is_not_served(with_uploads) -> None:
    async def story(site) -> None:
        url = await send(site, b"good")
        path = (await site.uploads.open(*parts(url)))[1]
        path.chmod(0o600)
        path.write_bytes(b"evil")
        with pytest.raises(StoreError, match="damaged or lost"):
            await site.uploads.open(*parts(url))

    with_uploads(story)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("a.png", "a.png"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x.exe", "x.exe"),
        ("..", "file"),
        ("", "file"),
        ("a\r\nb\0.txt", "a__b_.txt"),
        (" .hidden. ", "hidden"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("é" * 150 + ".csv", "é" * 98 + ".csv"),
    ],
)
def test_names_are_made_safe(name: str, offered: str) -> None:
    assert offered_name(name) == offered


def test_a_name_of_any_length_is_cut_before_it_is_looked_at() -> None:
    assert offered_name("x" * 5_000_000 + ".png") == "x" * 196 + ".png"
    assert offered_name("€" * 5_000_000 + ".png") == "€" * 65 + ".png"
    assert offered_name("a/" * 2_000_000 + "b.csv") == "b.csv"
