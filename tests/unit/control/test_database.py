from __future__ import annotations

import asyncio
import threading
import time

import pytest

from penstock.control.database import Database
from penstock.core.errors import NotFound, StoreError
from penstock.core.records import ProjectRecord
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords


async def open_in(folder) -> Database:
    return await Database.open(
        lambda: SqliteRecords(folder / "records.sqlite"),
        lambda: SqliteMemory(folder / "memory.sqlite"),
    )


def run(folder, scenario):
    async def whole():
        database = await open_in(folder)
        try:
            return await scenario(database)
        finally:
            await database.close()

    return asyncio.run(asyncio.wait_for(whole(), 30))


def test_every_call_runs_on_the_one_thread_of_its_store(tmp_path):
    async def scenario(database):
        for call, thread in (
            (database.call, "penstock-records"),
            (database.call_memory, "penstock-memory"),
        ):
            names = await asyncio.gather(
                *[call(lambda: threading.current_thread().name) for _ in range(20)]
            )
            assert set(names) == {thread}

    run(tmp_path, scenario)


def test_calls_run_in_the_order_they_were_made(tmp_path):
    async def scenario(database):
        done = []
        await asyncio.gather(*[database.call(done.append, number) for number in range(100)])
        assert done == list(range(100))

    run(tmp_path, scenario)


def test_arguments_results_and_exceptions_pass_through(tmp_path):
    def refuse(name, *, why):
        raise NotFound(f"{name} {why}")

    async def scenario(database):
        assert await database.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(NotFound, match="it is gone"):
            await database.call(refuse, "it", why="is gone")
        with pytest.raises(ZeroDivisionError):
            await database.call(divmod, 1, 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.call(next, iter(()))
        assert await database.call(int, "5", base=8) == 5

    run(tmp_path, scenario)


def test_a_slow_call_does_not_hold_the_event_loop(tmp_path):
    async def scenario(database):
        turns, release = 0, threading.Event()
        slow = asyncio.ensure_future(database.call(release.wait, 20))
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        assert not slow.done()
        release.set()
        assert await slow is True
        assert turns == 100

    run(tmp_path, scenario)


def test_memory_does_not_wait_for_records_that_do_not_answer(tmp_path):
    async def scenario(database):
        release = threading.Event()
        slow = asyncio.ensure_future(database.call(release.wait, 20))
        await database.call_memory(database.memory.names, ("default", "flow"), 1.0)
        assert not slow.done()
        release.set()
        assert await slow is True

    run(tmp_path, scenario)


def test_a_call_whose_caller_gave_up_before_its_turn_is_dropped(tmp_path):
    async def scenario(database):
        release, done = threading.Event(), []
        first = asyncio.ensure_future(database.call(release.wait, 20))
        second = asyncio.ensure_future(database.call(done.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()  # has begun: it is finished, and its answer is dropped
        await asyncio.gather(first, second, return_exceptions=True)
        release.set()
        await database.call(done.append, "third")
        assert done == ["third"]

    run(tmp_path, scenario)


def test_close_finishes_the_calls_already_made_and_refuses_later_ones(tmp_path):
    async def scenario():
        database = await open_in(tmp_path)
        records = database.records
        calls = [
            asyncio.ensure_future(
                database.call(records.add_project, ProjectRecord(f"p{number}", time.time()))
            )
            for number in range(20)
        ]
        await asyncio.sleep(0)
        await database.close()
        assert all(call.done() and call.exception() is None for call in calls)
        with pytest.raises(StoreError, match="stopping"):
            await database.call(records.list_projects)
        await database.close()
        again = await open_in(tmp_path)
        assert len(await again.call(again.records.list_projects)) == 20
        await again.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_store_that_does_not_open_leaves_no_thread_and_no_lock(tmp_path):
    (tmp_path / "memory.sqlite").write_bytes(b"no database" * 1000)

    async def scenario():
        with pytest.raises(StoreError, match=r"memory\.sqlite"):
            await open_in(tmp_path)
        (tmp_path / "memory.sqlite").unlink()
        await (await open_in(tmp_path)).close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert not [
        t for t in threading.enumerate() if t.name in {"penstock-records", "penstock-memory"}
    ]
