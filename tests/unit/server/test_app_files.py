"""Uploaded files over HTTP: served by signed address, listed and deleted by the project."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.codec.memory import Upload
from penstock.engine.base import VersionKey

Run = Callable[..., None]


async def put(site: Any, folder: Path, name: str, data: bytes, ttl: float | None = None) -> str:
    """Upload as a worker does; return the path and query of the address."""
    source = folder / "source"
    source.write_bytes(data)
    fd = os.open(source, os.O_RDONLY)
    try:
        request = Upload(name, ttl, fd)
        answer = await site.house.parts.uploads.answer(VersionKey("default", "flow", 1), request)
    finally:
        os.close(fd)
    assert answer.url.startswith("http://here/")
    return str(answer.url.removeprefix("http://here"))


def test_whoever_has_the_address_gets_the_file(on_site: Run, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        data = os.urandom(200_000)
        path = await put(site, tmp_path, "Bild 1.png", data)
        answer = await site.call("GET", path, key="")
        assert (answer.status_code, answer.content) == (200, data)
        headers = answer.headers
        assert headers["content-type"] == "image/png"
        assert headers["content-length"] == "200000"
        assert headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert headers["accept-ranges"] == "bytes"
        assert headers["content-disposition"] == (
            "inline; filename=\"Bild 1.png\"; filename*=UTF-8''Bild%201.png"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        head = await site.call("HEAD", path, key="")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == "200000"

    on_site(story)


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=500-", 206, 500, 1000),
        ("bytes=-10", 206, 990, 1000),
        ("bytes=990-5000", 206, 990, 1000),
        ("bytes=1000-", 416, 0, 0),
        ("bytes=5-2", 400, 0, 0),
    ],
)
def test_a_range_is_served(
    on_site: Run, tmp_path: Path, asked: str, status: int, first: int, last: int
) -> None:
    async def story(site: Any) -> None:
        data = os.urandom(1000)
        path = await put(site, tmp_path, "a.bin", data)
        answer = await site.call("GET", path, key="", headers={"Range": asked})
        assert answer.status_code == status
        if status == 206:
            assert answer.content == data[first:last]
            assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/1000"
        etag = (await site.call("HEAD", path, key="")).headers["etag"]
        if status == 206:
            for sent, expected in ((etag, 206), ('"other"', 200)):
                headers = {"Range": asked, "If-Range": sent}
                assert (await site.call("GET", path, "", headers=headers)).status_code == expected

    on_site(story)


def test_a_file_that_the_caller_has_is_not_sent_again(on_site: Run, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        path = await put(site, tmp_path, "a.csv", b"1,2")
        etag = (await site.call("GET", path, key="")).headers["etag"]
        answer = await site.call("GET", path, key="", headers={"If-None-Match": f'"x", W/{etag}'})
        assert (answer.status_code, answer.content) == (304, b"")

    on_site(story)


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        ("a.html", "text/html", "attachment"),
        ("a.svg", "image/svg+xml", "attachment"),
        ("a.js", "text/javascript", "attachment"),
        ("a.xml", "text/xml", "attachment"),
        ("a.tar.gz", "application/octet-stream", "attachment"),
        ("noname", "application/octet-stream", "attachment"),
        ("a.mp4", "video/mp4", "inline"),
        ("a.csv", "text/csv", "inline"),
        ("a.json", "application/json", "inline"),
    ],
)
def test_what_could_run_in_a_browser_is_downloaded(
    on_site: Run, tmp_path: Path, name: str, kind: str, how: str
) -> None:
    async def story(site: Any) -> None:
        answer = await site.call("GET", await put(site, tmp_path, name, b"<script>"), key="")
        found = answer.headers["content-type"].partition(";")[0]
        assert found in {kind, kind.replace("text/javascript", "application/javascript")} | {
            kind.replace("text/xml", "application/xml")
        }
        assert answer.headers["content-disposition"].startswith(f"{how}; ")

    on_site(story)


def test_a_forged_address_is_403_an_expired_one_410(on_site: Run, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        path = await put(site, tmp_path, "a.txt", b"x")
        forged = [
            path.replace("a.txt", "b.txt"),
            path[:-1],
            path.partition("?")[0],
            path.replace("expires=1", "expires=2"),
            path.replace("/default/", "/other/"),
        ]
        for address in forged:
            answer = await site.call("GET", address, key="")
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        expired = await put(site, tmp_path, "a.txt", b"x", ttl=1e-6)
        answer = await site.call("GET", expired, key="")
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")

    on_site(story)


def test_files_are_listed_and_deleted_by_whoever_may_deploy(on_site: Run, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        path = await put(site, tmp_path, "a.txt", b"four")
        listed = (await site.call("GET", "/v1/default/files")).json()
        assert listed["total_bytes"] == 4
        (file,) = listed["files"]
        assert (file["name"], file["deployment"], file["size"]) == ("a.txt", "flow", 4)
        assert file["url"] == f"http://here{path}"
        where = f"/v1/default/files/{file['file_id']}"
        assert (await site.call("DELETE", where, "predict")).status_code == 403
        assert (await site.call("GET", "/v1/default/files", "predict")).status_code == 403
        assert (await site.call("DELETE", where)).status_code == 204
        assert (await site.call("DELETE", where)).status_code == 404
        assert (await site.call("GET", path, key="")).status_code == 410
        assert (await site.call("GET", "/v1/other/files", "admin")).status_code == 404

    on_site(story)
