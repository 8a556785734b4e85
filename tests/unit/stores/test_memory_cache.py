from __future__ import annotations

import pytest

from penstock.core.errors import MemoryQuotaExceeded
from penstock.stores.base import MemoryQuota, MemoryWrite
from penstock.stores.memory_cache import LARGEST_VALUE, MemoryCache
from penstock.stores.sqlite_memory import SqliteMemory

HERE = ("default", "flow")
OTHER = ("default", "other")


@pytest.fixture
def store(tmp_path):
    store = SqliteMemory(tmp_path / "memory.sqlite", MemoryQuota(names=50))
    yield store
    store.close()


@pytest.fixture
def cache(store):
    return MemoryCache(store)


def save(cache, name: str, value: bytes | None, expires_at: float | None = None) -> int:
    return cache.publish(HERE, [MemoryWrite(name, value, expires_at)], 1.0)


def test_what_was_written_or_read_is_answered_at_once(cache, store):
    stamp = store.publish(HERE, [MemoryWrite("read", b"x")], 1.0)
    assert cache.peek(HERE, "read", 1.0) is None
    assert cache.read(HERE, "read", 1.0).stamp == stamp
    save(cache, "saved", b"y", expires_at=9.0)
    cache.increment(HERE, "count", 2, 1.0)
    cache.swap(HERE, "swapped", 0, b"z", 1.0)
    for name in ("read", "saved", "count", "swapped"):
        assert cache.peek(HERE, name, 1.0) == store.read(HERE, name, 1.0) is not None


def test_an_expired_value_is_not_answered(cache):
    save(cache, "a", b"x", expires_at=9.0)
    assert cache.peek(HERE, "a", 8.9).value == b"x"
    assert cache.peek(HERE, "a", 9.0) is None
    assert cache.read(HERE, "a", 9.0) is None


def test_a_deleted_or_cleared_name_is_not_answered(cache):
    cache.publish(OTHER, [MemoryWrite("a", b"other")], 1.0)
    for forget in (lambda: save(cache, "a", None), lambda: cache.clear(HERE)):
        save(cache, "a", b"x")
        forget()
        assert cache.peek(HERE, "a", 1.0) is None
        assert cache.read(HERE, "a", 1.0) is None
    assert cache.peek(OTHER, "a", 1.0).value == b"other"


def test_a_refused_write_leaves_the_value_before(cache):
    save(cache, "a", b"x")
    with pytest.raises(MemoryQuotaExceeded):
        save(cache, "a", b"x" * (MemoryQuota().value_bytes + 1))
    assert cache.peek(HERE, "a", 1.0).value == b"x"


def test_a_large_value_takes_the_place_of_no_others_but_of_its_own(cache):
    save(cache, "a", b"small")
    save(cache, "a", b"x" * LARGEST_VALUE)
    assert cache.peek(HERE, "a", 1.0) is None
    assert len(cache.read(HERE, "a", 1.0).value) == LARGEST_VALUE


def test_the_value_not_used_for_longest_goes_first(store):
    cache = MemoryCache(store, limit=3 * 600)
    for name in ("a", "b", "c"):
        save(cache, name, b"x" * 50)
    cache.peek(HERE, "a", 1.0)
    save(cache, "d", b"x" * 50)
    held = [name for name in "abcd" if cache.peek(HERE, name, 1.0)]
    assert held == ["a", "c", "d"]


def test_a_hundred_writes_of_one_name_do_not_push_out_another(store):
    cache = MemoryCache(store, limit=3 * 600)
    save(cache, "a", b"x")
    for number in range(100):
        save(cache, "b", str(number).encode())
    assert cache.peek(HERE, "a", 1.0).value == b"x"
