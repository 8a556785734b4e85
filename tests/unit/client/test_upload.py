"""The upload: pieces, a bar that counts a byte once, and files that change under our hands."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock.client.config import Target
from penstock.client.progress import Reporter
from penstock.client.session import session_for
from penstock.client.upload import PIECE, Uploaded, upload
from penstock.codec.bundle import Blob, Interpreter, Manifest, StageEntry
from penstock.core.errors import BlobCorrupt, MissingModelFile

TARGET = Target("http://penstock.test:8700", "pk_d_0123abcd_0123456789abcdef0123456789abcdef")


class CountingReporter(Reporter):
    """Counts what the bar was told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.told = 0
        self.total = 0

    def transfer(self, total: int) -> Any:
        self.total = total
        return self

    def __enter__(self) -> Any:
        return self.advance

    def __exit__(self, *_unused: object) -> None:
        """The bar ends."""

    def advance(self, sent: int) -> None:
        self.told += sent


def blob_of(content: bytes, name: str = "m.bin") -> Blob:
    return Blob(name, hashlib.sha256(content).hexdigest(), len(content))


def manifest_of(*blobs: Blob) -> Manifest:
    return Manifest(Interpreter.current(), [StageEntry("torch", blob) for blob in blobs])


@pytest.fixture
def content() -> bytes:
    return bytes(range(256)) * (PIECE // 256) + b"the rest"


def run(table: Any, blobs: dict[Blob, bytes | Path], missing: list[Blob]) -> Any:
    table.on("POST /v1/p/blobs/missing", {"missing": [blob.sha256 for blob in missing]})
    reporter = CountingReporter()
    contents = {blob.sha256: source for blob, source in blobs.items()}
    done = upload(session_for(TARGET), "p", manifest_of(*blobs), contents, reporter)
    return done, reporter


def test_a_file_is_sent_in_pieces_with_its_length(
    table: Any, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(content)
    blob, known = blob_of(content), blob_of(b"known", "k")
    table.on(f"PUT /v1/p/blobs/{blob.sha256}", b"", 201)
    done, reporter = run(table, {blob: path, known: b"known"}, [blob])
    assert done == Uploaded(1, len(content), 1, 5)
    assert table.asked[-1].content == content
    assert table.asked[-1].headers["Content-Length"] == str(len(content))
    assert reporter.told == reporter.total == len(content)


def test_a_broken_upload_starts_again_and_counts_each_byte_once(table: Any, content: bytes) -> None:
    blob = blob_of(content)
    tries: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        tries.append(len(request.content))
        if len(tries) < 3:
            raise httpx2.WriteError("broken pipe")
        return httpx2.Response(201)

    table.on(f"PUT /v1/p/blobs/{blob.sha256}", answer)
    _done, reporter = run(table, {blob: content}, [blob])
    assert tries == [len(content)] * 3
    assert reporter.told == len(content)


@pytest.mark.parametrize(("now", "how"), [(b"short", "it shrank"), (b"long" * 9, "it grew")])
def test_a_file_that_changes_while_it_is_sent_is_named(
    table: Any, tmp_path: Path, now: bytes, how: str
) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(now)
    blob = blob_of(b"what it was")
    table.on(f"PUT /v1/p/blobs/{blob.sha256}", b"", 201)
    with pytest.raises(MissingModelFile, match=rf"'m\.bin' changed while it was sent: {how}"):
        run(table, {blob: path}, [blob])


def test_a_file_that_disappears_is_named(table: Any, tmp_path: Path) -> None:
    blob = blob_of(b"what it was")
    table.on(f"PUT /v1/p/blobs/{blob.sha256}", b"", 201)
    with pytest.raises(MissingModelFile, match="No such file"):
        run(table, {blob: tmp_path / "gone"}, [blob])


def test_what_the_server_says_about_a_blob_is_raised(table: Any) -> None:
    blob = blob_of(b"abc")
    error = {"code": "blob_corrupt", "message": "The bytes do not match."}
    table.on(f"PUT /v1/p/blobs/{blob.sha256}", {"error": error}, 422)
    with pytest.raises(BlobCorrupt, match="do not match"):
        run(table, {blob: b"abc"}, [blob])
