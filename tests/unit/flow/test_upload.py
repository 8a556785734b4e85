"""`upload` as a processing function uses it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

import penstock
from penstock.codec.memory import Missing, Refused, Upload, Uploaded
from penstock.core.errors import FileQuotaExceeded, InvalidSetting, UploadFailed
from penstock.flow.context import CURRENT, Run
from penstock.flow.space import MemorySpace
from penstock.flow.upload import upload


@pytest.fixture
def in_a_run(tmp_path, monkeypatch):
    """Be inside a run, in a folder of its own; `answer(request)` is the server."""
    monkeypatch.chdir(tmp_path)
    tokens = []

    def enter(answer) -> None:
        tokens.append(CURRENT.set(Run("id", [], [], 0, MemorySpace(answer))))

    yield enter
    for token in tokens:
        CURRENT.reset(token)


def test_the_server_gets_the_open_file_its_name_and_the_ttl(in_a_run, tmp_path) -> None:
    seen = []

    def answer(request):
        seen.append((request.name, request.ttl_s, os.pread(request.fd, 99, 0), request.fd))
        return Uploaded("http://here/x")

    in_a_run(answer)
    (tmp_path / "sub").mkdir()
    Path("sub/a.txt").write_text("hello")
    assert upload("sub/a.txt", ttl=60) == "http://here/x"
    assert upload(tmp_path / "sub" / "a.txt") == "http://here/x"
    assert [one[:3] for one in seen] == [("a.txt", 60, b"hello"), ("a.txt", None, b"hello")]
    with pytest.raises(OSError):
        os.fstat(seen[-1][3])


def test_without_a_server_the_path_comes_back_as_it_was_given(in_a_run) -> None:
    Path("a.txt").write_text("hello")
    assert upload("a.txt") == "a.txt"
    in_a_run(lambda request: Missing())
    assert upload("./a.txt") == "./a.txt"
    assert upload(Path("a.txt")) == "a.txt"


def test_what_cannot_be_uploaded_is_an_error_that_names_it(in_a_run, tmp_path) -> None:
    in_a_run(lambda request: pytest.fail("nothing is to be sent"))
    with pytest.raises(UploadFailed, match=r"upload\('no.png'\): there is no such file in"):
        upload("no.png")
    with pytest.raises(UploadFailed, match="it is a directory") as failed:
        upload(tmp_path)
    assert "make_archive" in failed.value.hint
    os.mkfifo("pipe")
    with pytest.raises(UploadFailed, match="not a regular file"):
        upload("pipe")
    with pytest.raises(UploadFailed, match="null"):
        upload("a\0b")
    Path("a.txt").write_text("x")
    for ttl in (0, -1, float("inf"), float("nan")):
        with pytest.raises(InvalidSetting, match="greater than 0"):
            upload("a.txt", ttl=ttl)


def test_a_refusal_of_the_server_is_raised_where_upload_was_called(in_a_run) -> None:
    Path("a.txt").write_text("x")
    in_a_run(lambda request: Refused(FileQuotaExceeded("The project has no room.").to_dict()))
    with pytest.raises(FileQuotaExceeded, match="no room"):
        upload("a.txt")


def test_it_is_pickled_by_its_public_name() -> None:
    assert penstock.upload is upload
    assert b"penstock\x94" in pickle.dumps(upload)
    assert isinstance(Upload("a"), Upload)
