"""The threads that use the records and the memory store, one each; everybody else sends them calls.

Made by `penstock.wiring`. A store is safest with exactly one connection, and its calls block, so
neither the event loop nor any other thread touches a store: they `await database.call(...)` for
records and `await database.call_memory(...)` for memory. What functions save and get is part of a
predict call, and must not wait for records in a database that does not answer.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from penstock.core.errors import StoreError
from penstock.stores.base import MemoryStore, RecordStore
from penstock.stores.memory_cache import MemoryCache

P = ParamSpec("P")
R = TypeVar("R")


class _Job(NamedTuple):
    """A call on its way to the thread, and the loop and future that wait for it."""

    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]

    def run(self) -> None:
        # A caller that gave up before its turn does not want the call any more.
        if self.answer.cancelled():
            return
        try:
            result = self.work()
        except StopIteration as error:
            # A future cannot carry this one, and the caller would wait for ever.
            self._tell(self.answer.set_exception, RuntimeError(f"A call raised {error!r}."))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            self._tell(self.answer.set_exception, error)
        else:
            self._tell(self.answer.set_result, result)

    def _tell(self, settle: Callable[[Any], None], outcome: Any) -> None:
        def settle_unless_cancelled() -> None:
            if not self.answer.done():
                settle(outcome)

        try:
            self.loop.call_soon_threadsafe(settle_unless_cancelled)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


class _Lane:
    """A thread that makes the calls it is sent, one at a time, in the order they were sent."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], R]) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._jobs.put(_Job(work, loop, answer))
        return answer

    async def stop(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


class Database:
    """The stores and the threads they belong to. Made by `open`, ended by `close`.

    Attributes:
        records: Only for use inside `call`.
        memory: Only for use inside `call_memory`, but for `memory.peek`.
    """

    def __init__(self) -> None:
        self.records: RecordStore
        self.memory: MemoryCache
        self._closed = False
        self._records_lane = _Lane("penstock-records")
        self._memory_lane = _Lane("penstock-memory")

    @classmethod
    async def open(
        cls, open_records: Callable[[], RecordStore], open_memory: Callable[[], MemoryStore]
    ) -> Database:
        """Start the threads and open each store in its own.

        Args:
            open_records: Opens the records; called on their thread.
            open_memory: Opens the memory; called on its thread.

        Raises:
            StoreError: A store cannot be opened. Nothing stays open then.
        """
        database = cls()
        try:
            database.records = await database.call(open_records)
            try:
                database.memory = MemoryCache(await database.call_memory(open_memory))
            except BaseException:
                await database.call(database.records.close)
                raise
        except BaseException:
            await database._stop()
            raise
        return database

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` on the thread of the records and return what it returns.

        Calls run one at a time, in the order they were made. What `function` raises is raised
        here. A call whose caller is cancelled before its turn is dropped; one that has begun is
        finished.

        Raises:
            StoreError: The database is closed.
        """
        self._check_open()
        return await self._records_lane.submit(functools.partial(function, *args, **kwargs))

    async def call_memory(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Like `call`, on the thread of the memory."""
        self._check_open()
        return await self._memory_lane.submit(functools.partial(function, *args, **kwargs))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(
                "The server is stopping and its records are closed.",
                hint="Try again when the server has started again.",
            )

    async def close(self) -> None:
        """Finish the calls already made, close both stores and end the threads."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.gather(
                self._memory_lane.submit(self.memory.close),
                self._records_lane.submit(self.records.close),
            )
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._closed = True
        await asyncio.gather(self._records_lane.stop(), self._memory_lane.stop())
