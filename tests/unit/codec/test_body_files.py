from __future__ import annotations

import mmap
import os

import pytest

from penstock.codec.body_files import Mappings, Shelf
from penstock.core.errors import InternalError

MB = 1 << 20


def test_a_file_given_back_is_lent_again_to_the_same_owner_only():
    shelf = Shelf()
    file = shelf.take("default/a", 300_000)
    file.give_back()
    other = shelf.take("default/b", 300_000)
    assert other is not file
    assert shelf.take("default/a", 400_000) is file
    assert shelf.take("default/a", 400_000) is not file


@pytest.mark.parametrize("size", [262_145, 512 * 1024, 512 * 1024 + 1, 4 * MB])
def test_a_file_has_room_for_what_was_asked(size):
    assert len(Shelf().take("a", size).view) >= size


def _held(file):
    """Return how many bytes the kernel holds of a file."""
    fd = file.descriptor()
    try:
        return os.fstat(fd).st_blocks * 512
    finally:
        os.close(fd)


def test_a_file_takes_memory_as_bytes_come_and_keeps_it_for_the_next_body():
    shelf = Shelf()
    file = shelf.take("a", 4 * MB)
    assert _held(file) == 0
    file.view[:MB] = b"x" * MB
    filled = _held(file)
    assert MB <= filled <= 2 * MB
    file.give_back()
    assert shelf.take("a", 4 * MB) is file
    assert _held(file) == filled


def test_the_shelf_lets_go_of_the_files_of_who_was_quiet_longest():
    shelf = Shelf(kept_bytes=2 * MB)
    files = {owner: shelf.take(owner, MB) for owner in ("a", "b", "c")}
    for file in files.values():
        file.give_back()
    assert shelf.take("a", MB) is not files["a"]
    assert shelf.take("b", MB) is files["b"]
    assert shelf.take("c", MB) is files["c"]


def test_a_file_that_nobody_gives_back_is_closed():
    file = Shelf().take("a", 300_000)
    fd = file.descriptor()
    inode = os.fstat(fd).st_ino
    os.close(fd)
    del file
    opened = [os.stat(f"/proc/self/fd/{name}").st_ino for name in _open_descriptors()]
    assert inode not in opened


def _open_descriptors():
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]


def test_who_gets_a_descriptor_can_neither_shorten_the_file_nor_write_to_it():
    file = Shelf().take("a", 300_000)
    fd = file.descriptor()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(fd, 1000)
    os.close(fd)


def test_a_copy_is_that_of_the_moment_and_stays():
    shelf, mappings = Shelf(), Mappings()
    file = shelf.take("a", 300_000)
    copies = []
    for letter in (b"x", b"y"):
        file.view[:300_000] = letter * 300_000
        fd = file.descriptor()
        copies.append(mappings.copy(fd, 300_000))
        os.close(fd)
    assert copies == [b"x" * 300_000, b"y" * 300_000]


def test_more_files_than_are_kept_mapped_are_read_all_the_same():
    shelf, mappings = Shelf(), Mappings(mapped_bytes=2 * MB)
    files = [shelf.take("a", MB) for _ in range(4)]
    for number, file in enumerate(files):
        file.view[:MB] = bytes([number]) * MB
    for number in (0, 1, 2, 3, 0, 3, 1):
        fd = files[number].descriptor()
        assert mappings.copy(fd, MB) == bytes([number]) * MB
        os.close(fd)


def test_less_than_announced_is_refused():
    file = Shelf().take("a", 300_000)
    fd = file.descriptor()
    with pytest.raises(InternalError):
        Mappings().copy(fd, file.capacity + 1)
    os.close(fd)
