"""Request files behave like open binary files, wherever their bytes come from."""

from __future__ import annotations

import copy
import csv
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from penstock.codec.files import RequestFile, base_name, find_bytes
from penstock.core.errors import InternalError, MalformedBody


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(out, "PNG")
    return out.getvalue()


def test_pillow_opens_it_lazily_and_reads_the_pixels() -> None:
    raw = png()
    image = Image.open(RequestFile(memoryview(b"x" + raw + b"y")[1:-1], "d.png", "image/png"))
    np.testing.assert_array_equal(np.asarray(image), np.arange(64).reshape(8, 8))


def test_text_and_zip_readers_take_it() -> None:
    rows = csv.reader(io.TextIOWrapper(RequestFile(b"a,b\n1,2\n", "t.csv"), "utf-8"))
    assert list(rows) == [["a", "b"], ["1", "2"]]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner.txt", "hi")
    with zipfile.ZipFile(RequestFile(packed.getvalue(), "z.zip")) as archive:
        assert archive.read("inner.txt") == b"hi"


@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(["read", "readline", "readinto"]), st.integers(-1, 30))
        | st.tuples(st.just("seek"), st.integers(0, 220))
        | st.tuples(st.just("seek_end"), st.integers(-30, 5)),
        max_size=12,
    ),
)
def test_every_sequence_of_calls_gives_what_a_real_file_gives(
    content: bytes, calls: list[tuple[str, int]]
) -> None:
    ours = RequestFile(memoryview(b"pre" + content + b"post")[3 : 3 + len(content)], "f")
    real = io.BytesIO(content)
    for call, number in calls:
        if call == "readinto":
            a, b = bytearray(max(number, 0)), bytearray(max(number, 0))
            assert ours.readinto(a) == real.readinto(b)
            assert a == b
        elif call == "seek":
            assert ours.seek(number) == real.seek(number)
        elif call == "seek_end":
            assert ours.seek(number, 2) == real.seek(number, 2)
        else:
            assert getattr(ours, call)(number) == getattr(real, call)(number)
        assert ours.tell() == real.tell()
    assert list(ours.rewind()) == content.splitlines(keepends=True) or b"\r" in content


def test_iteration_context_and_capabilities() -> None:
    file = RequestFile(b"one\ntwo\nthree", "lines.txt")
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    with file as opened:
        assert list(opened) == [b"one\n", b"two\n", b"three"]
    assert file.closed
    assert file.rewind().readlines() == [b"one\n", b"two\n", b"three"]
    assert file.rewind().read1(3) == b"one"
    assert file.readinto1(bytearray(2)) == 2


def test_a_closed_file_refuses_and_rewinding_makes_it_good_as_new() -> None:
    file = RequestFile(b"abc", "a")
    assert file.read() == b"abc"
    file.close()
    for call in (file.read, file.tell, file.readline, lambda: file.seek(0), lambda: list(file)):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert file.rewind().read() == b"abc"


def test_it_cannot_be_written() -> None:
    file = RequestFile(bytearray(b"abc"), "a")
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(TypeError):
        file.getbuffer()[0] = 1
    with pytest.raises(io.UnsupportedOperation):
        file.seek(0, 9)


def test_the_path_is_written_on_first_use_and_kept(tmp_path: Path) -> None:
    asked: list[int] = []

    def folder() -> Path:
        asked.append(1)
        return tmp_path

    file = RequestFile(b"abc", "a.txt", directory=folder)
    file.read(2)
    assert asked == []
    assert file.path == str(tmp_path / "a.txt")
    assert file.path == file.path
    assert Path(file.path).read_bytes() == b"abc"
    assert len(asked) == 1
    Path(file.path).unlink()
    assert Path(file.path).read_bytes() == b"abc"


def test_two_files_of_one_name_get_two_paths(tmp_path: Path) -> None:
    files = [RequestFile(bytes([65 + i]), "a.txt", directory=lambda: tmp_path) for i in range(3)]
    assert [Path(f.path).name for f in files] == ["a.txt", "a-1.txt", "a-2.txt"]
    assert [Path(f.path).read_bytes() for f in files] == [b"A", b"B", b"C"]


def test_a_path_without_a_working_directory_is_a_clear_error() -> None:
    with pytest.raises(InternalError, match=r"a\.txt"):
        _ = RequestFile(b"", "a.txt").path


def test_every_way_to_give_a_file_gives_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "pic.png"
    path.write_bytes(b"PNG")
    with path.open("rb") as opened:
        opened.read(2)
        ways = [path, str(path), opened, ("pic.png", b"PNG"),
                ("x/pic.png", io.BytesIO(b"PNG")),
                ("pic.png", path, "image/png"),
                RequestFile(b"PNG", "pic.png", "image/png")]  # fmt: skip
        for way in ways:
            file = RequestFile.from_any(way)
            assert (file.name, file.content_type, file.size, file.read()) == (
                "pic.png", "image/png", 3, b"PNG")  # fmt: skip
        assert opened.tell() == 2


def test_nameless_files_are_numbered() -> None:
    given_files = [b"a", io.BytesIO(b"b")]
    files = [RequestFile.from_any(f, n) for n, f in enumerate(given_files)]
    assert [(f.name, f.content_type) for f in files] == [
        ("file0", "application/octet-stream"), ("file1", "application/octet-stream")]  # fmt: skip


def test_a_stream_that_cannot_seek_is_read_from_where_it_is() -> None:
    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return b"piped"

    assert RequestFile.from_any(Pipe()).read() == b"piped"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedBody, match=r"files\[2\] is a int, not a file"):
        RequestFile.from_any(3, 2)
    with pytest.raises(MalformedBody, match=r"files\[1\].*No such file.*looked up from"):
        RequestFile.from_any(tmp_path / "absent.png", 1)
    with pytest.raises(MalformedBody, match="Is a directory"):
        RequestFile.from_any(tmp_path)
    with pytest.raises(MalformedBody, match="text mode"):
        RequestFile.from_any(io.StringIO("text"))


def test_it_can_be_copied_and_pickled() -> None:
    file = RequestFile(memoryview(b"xabcx")[1:4], "a.txt", "text/plain")
    file.read()
    for twin in (pickle.loads(pickle.dumps(file)), copy.deepcopy(file)):
        assert (twin.name, twin.content_type, twin.read()) == ("a.txt", "text/plain", b"abc")


def test_it_shows_itself() -> None:
    assert repr(RequestFile(b"abc", "a.png", "image/png")) == (
        "<RequestFile 'a.png', image/png, 3 bytes>"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a/b\\c.txt", "c.txt"), ("", "file"), (".", "file"), ("..", "file"), ("a/", "file"),
     (" . ", "file"), (".bashrc", ".bashrc"), ("a\nb", "ab"), ("é.png", "é.png")],
)  # fmt: skip
def test_names_are_base_names(name: str, shown: str) -> None:
    assert base_name(name) == shown


@given(st.text(max_size=400))
def test_every_name_is_safe_to_write(name: str) -> None:
    shown = base_name(name)
    assert 0 < len(shown.encode()) <= 200
    assert not set(shown) & {"/", "\\", "\0", "\n"}
    assert shown not in (".", "..")


def test_a_long_name_keeps_its_suffix() -> None:
    assert base_name("é" * 300 + ".png").endswith(".png")


@given(st.binary(max_size=50), st.integers(0, 9000), st.integers(0, 40))
def test_searching_a_view_is_searching_its_bytes(needle: bytes, place: int, start: int) -> None:
    raw = bytes(place) + b"\r\n--bound" + needle + bytes(100)
    for wanted in (b"\r\n--bound" + needle, b"\1absent"):
        assert find_bytes(memoryview(raw), wanted, start) == raw.find(wanted, start)
