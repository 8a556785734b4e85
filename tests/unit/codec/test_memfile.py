from __future__ import annotations

import os

import pytest

from penstock.codec import memfile
from penstock.core.errors import InternalError


@pytest.mark.parametrize("trusted", [True, False])
def test_what_was_written_is_read(trusted):
    fd, size = memfile.create([b"abc", memoryview(b"def")])
    view = memfile.read(fd, size, trusted=trusted)
    os.close(fd)
    assert view == b"abcdef"
    assert view.readonly


def test_an_empty_file_is_an_empty_body():
    fd, size = memfile.create([])
    assert memfile.read(fd, size, trusted=True) == b""
    os.close(fd)


def test_a_file_that_its_maker_could_shorten_is_copied_not_mapped():
    fd = memfile.open_empty("test")
    os.write(fd, b"x" * 3_000_000)
    view = memfile.read(fd, 3_000_000, trusted=False)
    os.ftruncate(fd, 0)
    os.close(fd)
    assert view == b"x" * 3_000_000


def test_less_than_announced_is_refused():
    fd, size = memfile.create([b"abc"])
    with pytest.raises(InternalError):
        memfile.read(fd, size + 1, trusted=False)
    os.close(fd)


def test_a_descriptor_that_is_no_file_is_refused():
    reader, writer = os.pipe()
    with pytest.raises(InternalError):
        memfile.read(reader, 10, trusted=False)
    os.close(reader)
    os.close(writer)
