"""Joins writes that come at the same time into one transaction.

A durable commit costs a disk flush, whatever is in it. While one is on its way, further writes
gather and go together in the next; a lone write is not delayed. Used for accepting and for
finishing runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

#: Most writes in one transaction, so that other users of the database thread get their turn.
MOST = 256


class GroupCommit(Generic[In, Out]):
    """Hands lists of items to one function, one list at a time.

    Args:
        write: Writes all items durably, or none, and returns one result for each.
    """

    def __init__(self, write: Callable[[Sequence[In]], Awaitable[Sequence[Out]]]) -> None:
        self._write = write
        self._waiting: list[tuple[In, asyncio.Future[Out]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: In) -> Out:
        """Return the result for `item` once it is durable; raise what `write` raised."""
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[In, asyncio.Future[Out]]]) -> None:
        try:
            results = await self._write([item for item, _answer in batch])
        except Exception as error:  # noqa: BLE001 - those who wait get it
            for _item, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_item, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
