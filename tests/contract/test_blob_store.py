from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from penstock.core.errors import BlobCorrupt, BlobMissing, InvalidName

DATA = bytes(range(256)) * 1000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store, data: bytes = DATA) -> str:
    writer = store.begin(sha256(data))
    writer.write(data)
    assert writer.commit() == len(data)
    return sha256(data)


def everything_under(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def rewrite(path, change) -> None:
    """Change the bytes of a read-only file in place."""
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_blob_comes_back_as_it_was_written(blobs):
    name = put(blobs)
    assert blobs.has(name)
    assert blobs.read(name) == DATA
    assert blobs.path(name).read_bytes() == DATA


@pytest.mark.parametrize("pieces", [[], [b""], [b"a", b"", b"bc"]])
def test_a_blob_may_come_in_any_pieces(blobs, pieces):
    whole = b"".join(pieces)
    writer = blobs.begin(sha256(whole))
    for piece in pieces:
        writer.write(piece)
    assert writer.commit() == len(whole)
    assert blobs.read(sha256(whole)) == whole


def test_missing_names_are_told_in_the_order_given(blobs):
    there = put(blobs)
    first, second = "f" * 64, "0" * 64
    assert blobs.missing([first, there, second]) == [first, second]


def test_an_absent_blob_is_blob_missing(blobs):
    for access in (blobs.path, blobs.read):
        with pytest.raises(BlobMissing, match="0000"):
            access("0" * 64)


def test_a_blob_is_read_only(blobs):
    assert blobs.path(put(blobs)).stat().st_mode & 0o777 == 0o444


def test_bytes_with_another_hash_are_refused_and_not_kept(blobs, tmp_path):
    writer = blobs.begin(sha256(DATA))
    writer.write(DATA[:-1])
    with pytest.raises(BlobCorrupt, match=sha256(DATA)):
        writer.commit()
    assert not blobs.has(sha256(DATA))
    assert everything_under(tmp_path) == []


def test_a_half_written_blob_is_never_visible(blobs, tmp_path):
    writer = blobs.begin(sha256(DATA))
    writer.write(DATA)
    assert not blobs.has(sha256(DATA))
    with pytest.raises(BlobMissing):
        blobs.path(sha256(DATA))
    writer.abort()
    assert everything_under(tmp_path) == []


def test_abort_after_commit_keeps_the_blob(blobs):
    writer = blobs.begin(sha256(DATA))
    writer.write(DATA)
    writer.commit()
    writer.abort()
    assert blobs.read(sha256(DATA)) == DATA


def test_an_aborted_writer_takes_nothing_any_more(blobs, tmp_path):
    writer = blobs.begin(sha256(DATA))
    writer.write(DATA)
    writer.abort()
    writer.write(DATA)
    with pytest.raises(BlobCorrupt):
        writer.commit()
    assert everything_under(tmp_path) == []


def test_one_flipped_bit_is_found(blobs):
    for bit in range(0, len(DATA) * 8, len(DATA) * 8 // 50):
        name = put(blobs)
        path = blobs.path(name)
        rewrite(path, lambda data, at=bit: data.__setitem__(at // 8, data[at // 8] ^ 1 << at % 8))
        for access in (blobs.path, blobs.read):
            with pytest.raises(BlobCorrupt, match=name):
                access(name)


def test_a_truncated_or_longer_blob_is_found(blobs):
    for change in (
        lambda d: d.__delitem__(slice(-1, None)),
        lambda d: d.append(0),
        bytearray.clear,
    ):
        name = put(blobs)
        rewrite(blobs.path(name), change)
        with pytest.raises(BlobCorrupt, match=name):
            blobs.path(name)


def test_a_change_with_the_old_times_is_found(blobs):
    path = blobs.path(put(blobs))
    before = path.stat()
    rewrite(path, lambda data: data.__setitem__(0, 7))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BlobCorrupt):
        blobs.path(sha256(DATA))


def test_a_change_made_while_the_server_was_down_is_found(blobs, open_blobs):
    name = put(blobs)
    rewrite(blobs.path(name), lambda data: data.__setitem__(0, 7))
    with pytest.raises(BlobCorrupt):
        open_blobs().path(name)


def test_a_corrupt_blob_counts_as_missing_until_it_is_sent_again(blobs):
    name = put(blobs)
    rewrite(blobs.path(name), lambda data: data.__setitem__(0, 7))
    with pytest.raises(BlobCorrupt):
        blobs.path(name)
    assert blobs.missing([name]) == [name]
    put(blobs)
    assert blobs.missing([name]) == []
    assert blobs.read(name) == DATA


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../" * 22,
        "/etc/passwd",
        "../../etc/passwd",
        "a/" * 32,
        "\x00" * 64,
        "A" * 64,
        "g" * 64,
        "0" * 63,
        "0" * 65,
        "0" * 64 + "\n",
        "٠" * 64,
        "０" * 64,
        "~" + "0" * 63,
        "C:\\" + "0" * 61,
        "0" * 63 + "\u202e",
    ],
)
def test_names_that_are_no_hash_are_refused(blobs, tmp_path, name):
    before = everything_under(tmp_path)
    for access in (blobs.has, blobs.begin, blobs.path, blobs.read, lambda n: blobs.missing([n])):
        with pytest.raises(InvalidName):
            access(name)
    assert everything_under(tmp_path) == before


def test_blobs_are_there_after_reopening(blobs, open_blobs):
    name = put(blobs)
    assert open_blobs().read(name) == DATA


def test_writers_of_the_same_blob_do_not_disturb_each_other(blobs, tmp_path):
    barrier, failures = threading.Barrier(8), []

    def write() -> None:
        try:
            writer = blobs.begin(sha256(DATA))
            barrier.wait(10)
            for start in range(0, len(DATA), 1000):
                writer.write(DATA[start : start + 1000])
            writer.commit()
            assert blobs.read(sha256(DATA)) == DATA
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(everything_under(tmp_path)) == 1


def test_collect_deletes_what_is_old_and_not_kept(blobs):
    kept, dropped = put(blobs, b"kept"), put(blobs, b"dropped")
    later = time.time() + 10
    assert blobs.collect(frozenset({kept}), later) == len(b"dropped")
    assert blobs.missing([kept, dropped]) == [dropped]
    with pytest.raises(BlobMissing):
        blobs.path(dropped)


def test_collect_leaves_what_was_written_or_asked_for_lately(blobs, open_blobs):
    start = time.time()
    old = put(blobs)
    os.utime(blobs.path(old), (1.0, 1.0))
    assert blobs.collect(frozenset(), start - 10) == 0  # asked for by `path`
    again = open_blobs()
    assert again.missing([old]) == []
    assert again.collect(frozenset(), start - 10) == 0  # asked for by `missing`
    assert open_blobs().collect(frozenset(), start - 10) == len(DATA)


def test_collect_removes_what_a_killed_upload_left(blobs, open_blobs, tmp_path):
    writer = blobs.begin(sha256(DATA))
    writer.write(DATA)
    again = open_blobs()
    assert again.collect(frozenset(), time.time() - 10) == 0
    assert len(everything_under(tmp_path)) == 1
    assert again.collect(frozenset(), time.time() + 10) == len(DATA)
    assert everything_under(tmp_path) == []
    writer.abort()
