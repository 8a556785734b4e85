from __future__ import annotations

import asyncio
import threading

import pytest

from penstock.control.database import Database
from penstock.core.errors import Conflict, MemoryQuotaExceeded
from penstock.stores.base import MemoryQuota, MemoryWrite

HERE = ("default", "flow")
PROJECT = ("default", "")
NOW = 1000.0


def save(store, name: str, value: bytes | None, expires_at: float | None = None, now=NOW) -> int:
    return store.publish(HERE, [MemoryWrite(name, value, expires_at)], now)


def value_of(store, name: str, now: float = NOW) -> bytes | None:
    item = store.read(HERE, name, now)
    return None if item is None else item.value


def test_a_value_comes_back_as_it_was_saved(memory):
    stamp = save(memory, "näme\x00/x", b"\x00\xff" * 10)
    item = memory.read(HERE, "näme\x00/x", NOW)
    assert (item.value, item.number, item.stamp) == (b"\x00\xff" * 10, None, stamp)
    save(memory, "empty", b"")
    assert value_of(memory, "empty") == b""
    assert memory.read(HERE, "nothing", NOW) is None


def test_namespaces_do_not_see_each_other(memory):
    others = [PROJECT, ("default/flow", ""), ("other", "flow"), ("default", "flow2")]
    save(memory, "a", b"here")
    for other in others:
        assert memory.read(other, "a", NOW) is None
        memory.publish(other, [MemoryWrite("a", repr(other).encode())], NOW)
    assert value_of(memory, "a") == b"here"
    assert [memory.read(o, "a", NOW).value for o in others] == [repr(o).encode() for o in others]


def test_a_publish_applies_its_writes_in_order(memory):
    writes = [
        MemoryWrite("a", b"1"),
        MemoryWrite("a", b"2"),
        MemoryWrite("b", b"3"),
        MemoryWrite("b", None),
        MemoryWrite("c", None),
        MemoryWrite("c", b"4"),
    ]
    stamp = memory.publish(HERE, writes, NOW)
    assert memory.names(HERE, NOW) == ["a", "c"]
    assert (value_of(memory, "a"), value_of(memory, "c")) == (b"2", b"4")
    assert {memory.read(HERE, name, NOW).stamp for name in "ac"} == {stamp}


def test_a_publish_over_two_namespaces_is_all_or_nothing(open_memory):
    memory = open_memory(quota=MemoryQuota(value_bytes=10))
    good, bad = [MemoryWrite("a", b"x")], [MemoryWrite("b", b"x" * 11)]
    with pytest.raises(MemoryQuotaExceeded, match="'b'"):
        memory.publish_all([(HERE, good), (PROJECT, bad)], NOW)
    assert memory.names(HERE, NOW) == memory.names(PROJECT, NOW) == []
    stamp = memory.publish_all([(HERE, good), (PROJECT, good)], NOW)
    assert memory.read(HERE, "a", NOW).stamp == memory.read(PROJECT, "a", NOW).stamp == stamp


def test_stamps_grow_with_every_write_and_across_reopening(memory, open_memory):
    stamps = []
    for _ in range(3):
        stamps.append(save(memory, "a", b"x"))
        stamps.append(memory.increment(HERE, "n", 1, NOW).stamp)
        stamps.append(memory.swap(HERE, "a", stamps[-2], b"y", NOW))
        save(memory, "a", None)
        memory.clear(HERE)
        memory = open_memory()
    assert stamps == sorted(set(stamps))
    assert stamps[0] > 0


def test_everything_is_there_after_reopening(memory, open_memory):
    stamp = save(memory, "a", b"value", expires_at=NOW + 10)
    memory.increment(HERE, "n", 2.5, NOW)
    before = [memory.read(HERE, name, NOW) for name in "an"]
    again = open_memory()
    assert [again.read(HERE, name, NOW) for name in "an"] == before
    assert before[0].stamp == stamp


def test_an_expired_name_is_missing_from_its_time_on(memory):
    save(memory, "a", b"x", expires_at=NOW + 10)
    assert value_of(memory, "a", NOW + 9.99) == b"x"
    assert value_of(memory, "a", NOW + 10) is None
    assert memory.names(HERE, NOW + 9.99) == ["a"]
    assert memory.names(HERE, NOW + 10) == []


def test_a_value_saved_again_without_expiry_stays(memory):
    save(memory, "a", b"x", expires_at=NOW + 10)
    save(memory, "a", b"y")
    assert value_of(memory, "a", NOW + 1e9) == b"y"


def test_purge_deletes_what_has_expired(memory):
    save(memory, "a", b"x", expires_at=NOW + 10)
    save(memory, "b", b"x", expires_at=NOW + 20)
    save(memory, "c", b"x")
    assert memory.purge(NOW + 10) == 1
    assert memory.purge(NOW + 10) == 0
    assert memory.names(HERE, NOW) == ["b", "c"]


def test_numbers_stay_numbers(memory):
    assert memory.increment(HERE, "n", 2, NOW).number == 2
    item = memory.increment(HERE, "n", -5, NOW)
    assert (item.number, item.value, type(item.number)) == (-3, None, int)
    assert memory.read(HERE, "n", NOW) == item
    item = memory.increment(HERE, "n", 0.5, NOW)
    assert (item.number, type(item.number)) == (-2.5, float)
    assert memory.increment(HERE, "whole", 3.0, NOW).number == 3.0
    assert type(memory.read(HERE, "whole", NOW).number) is float


def test_an_expired_number_begins_again_from_0(memory):
    memory.increment(HERE, "n", 5, NOW, expires_at=NOW + 10)
    assert memory.increment(HERE, "n", 1, NOW + 5).number == 6
    assert memory.read(HERE, "n", NOW + 9).expires_at == NOW + 10
    assert memory.increment(HERE, "n", 1, NOW + 10).number == 1
    assert memory.read(HERE, "n", NOW + 1e9).number == 1


def test_a_saved_value_cannot_be_counted_up(memory):
    save(memory, "a", b"5")
    with pytest.raises(Conflict, match="'a'"):
        memory.increment(HERE, "a", 1, NOW)
    assert value_of(memory, "a") == b"5"


@pytest.mark.parametrize(
    ("start", "by"),
    [(2**63 - 1, 1), (-(2**63), -1), (1e308, 1e308), (0, float("nan")), (0, float("inf"))],
)
def test_a_number_stays_finite_and_within_64_bits(memory, start, by):
    memory.increment(HERE, "n", start, NOW)
    with pytest.raises(Conflict, match="64 bits"):
        memory.increment(HERE, "n", by, NOW)
    assert memory.read(HERE, "n", NOW).number == start


def test_a_swap_wins_only_against_the_stamp_it_knows(memory):
    first = memory.swap(HERE, "a", 0, b"1", NOW)
    assert first is not None
    assert memory.swap(HERE, "a", 0, b"2", NOW) is None
    second = memory.swap(HERE, "a", first, b"2", NOW)
    assert memory.swap(HERE, "a", first, b"3", NOW) is None
    assert value_of(memory, "a") == b"2"
    save(memory, "a", None)
    assert memory.swap(HERE, "a", second, b"3", NOW) is None
    assert memory.swap(HERE, "a", 0, b"3", NOW, expires_at=NOW + 10) > second
    assert memory.swap(HERE, "a", 0, b"4", NOW + 10) is not None
    assert value_of(memory, "a", NOW + 1e9) == b"4"


def test_a_value_over_the_limit_is_refused_by_name(open_memory):
    memory = open_memory(quota=MemoryQuota(value_bytes=100))
    save(memory, "a", b"x" * 100)
    with pytest.raises(MemoryQuotaExceeded, match="'big' in default/flow has 101 bytes"):
        memory.publish(HERE, [MemoryWrite("b", b"x"), MemoryWrite("big", b"x" * 101)], NOW)
    with pytest.raises(MemoryQuotaExceeded, match="'a'"):
        memory.swap(HERE, "a", memory.read(HERE, "a", NOW).stamp, b"x" * 101, NOW)
    assert memory.names(HERE, NOW) == ["a"]
    assert value_of(memory, "a") == b"x" * 100


def test_a_name_over_the_limit_is_refused(memory):
    save(memory, "é" * 512, b"x")
    with pytest.raises(MemoryQuotaExceeded, match="1025 bytes"):
        save(memory, "é" * 512 + "x", b"x")


def test_a_full_namespace_is_refused_and_others_are_not(open_memory):
    memory = open_memory(quota=MemoryQuota(total_bytes=100, names=3))
    save(memory, "a", b"x" * 50)
    with pytest.raises(MemoryQuotaExceeded, match="default/flow"):
        save(memory, "b", b"x" * 50)
    assert memory.names(HERE, NOW) == ["a"]
    memory.publish(PROJECT, [MemoryWrite("b", b"x" * 50)], NOW)
    save(memory, "a", b"x" * 90)  # an old value makes room for its successor
    save(memory, "a", b"")
    memory.increment(HERE, "b", 1, NOW)
    save(memory, "c", b"")
    for write in (
        lambda: save(memory, "d", b""),
        lambda: memory.increment(HERE, "d", 1, NOW),
        lambda: memory.swap(HERE, "d", 0, b"", NOW),
    ):
        with pytest.raises(MemoryQuotaExceeded, match="4 names"):
            write()
    memory.publish(HERE, [MemoryWrite("d", b""), MemoryWrite("a", None)], NOW)
    assert memory.names(HERE, NOW) == ["b", "c", "d"]


def test_expired_names_make_room(open_memory):
    memory = open_memory(quota=MemoryQuota(names=2))
    save(memory, "a", b"x", expires_at=NOW + 10)
    save(memory, "b", b"x", expires_at=NOW + 20)
    with pytest.raises(MemoryQuotaExceeded):
        save(memory, "c", b"x")
    save(memory, "c", b"x", now=NOW + 10)
    assert memory.names(HERE, NOW + 10) == ["b", "c"]


def test_the_quota_counts_what_was_there_before_reopening(open_memory):
    memory = open_memory(quota=MemoryQuota(names=1))
    save(memory, "a", b"x")
    memory = open_memory(quota=MemoryQuota(names=1))
    with pytest.raises(MemoryQuotaExceeded):
        save(memory, "b", b"x")
    memory.clear(HERE)
    save(memory, "b", b"x")


def test_a_namespace_above_a_lowered_quota_may_get_smaller(open_memory):
    memory = open_memory()
    save(memory, "a", b"x" * 1000)
    save(memory, "b", b"x" * 1000)
    memory = open_memory(quota=MemoryQuota(total_bytes=100))
    save(memory, "a", b"x" * 10)
    save(memory, "b", None)
    assert memory.names(HERE, NOW) == ["a"]


def test_clear_forgets_one_namespace(memory):
    save(memory, "a", b"x")
    memory.publish(PROJECT, [MemoryWrite("a", b"project")], NOW)
    memory.clear(HERE)
    assert value_of(memory, "a") is None
    assert memory.names(HERE, NOW) == []
    assert memory.read(PROJECT, "a", NOW).value == b"project"


def test_increments_from_many_threads_are_all_counted(open_memory, stores):
    records, memory = stores.RECORDS["sqlite"], stores.MEMORY[open_memory.implementation]
    folder = open_memory.folder

    async def scenario() -> int | float | None:
        # Both are opened on the database thread, which alone may use them.
        database = await Database.open(lambda: records(folder), lambda: memory(folder))
        loop = asyncio.get_running_loop()

        def count() -> None:
            for _ in range(100):
                call = database.call_memory(database.memory.increment, HERE, "n", 1, NOW)
                asyncio.run_coroutine_threadsafe(call, loop).result(30)

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        found = await database.call_memory(database.memory.read, HERE, "n", NOW)
        await database.close()
        return found.number

    assert asyncio.run(scenario()) == 800
