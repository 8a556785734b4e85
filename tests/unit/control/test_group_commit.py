"""Writes that come at the same time share a transaction, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.control.group_commit import MOST, GroupCommit
from penstock.core.errors import StoreError


def test_writes_gather_while_one_is_on_its_way() -> None:
    async def story() -> None:
        seen: list[list[int]] = []
        gate = asyncio.Event()

        async def write(items: Sequence[int]) -> Sequence[int]:
            seen.append(list(items))
            await gate.wait()
            return [item * 10 for item in items]

        group = GroupCommit(write)
        first = asyncio.ensure_future(group.put(1))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(group.put(n)) for n in range(2, 5)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
        assert seen == [[1], [2, 3, 4]]
        assert await group.put(5) == 50

    asyncio.run(story())


def test_one_transaction_has_a_largest_size() -> None:
    async def story() -> None:
        sizes: list[int] = []

        async def write(items: Sequence[int]) -> Sequence[int]:
            sizes.append(len(items))
            return items

        group = GroupCommit(write)
        numbers = range(MOST + 5)
        assert await asyncio.gather(*map(group.put, numbers)) == list(numbers)
        assert sizes == [MOST, 5]

    asyncio.run(story())


def test_a_failure_reaches_everybody_in_the_batch_and_nobody_after() -> None:
    async def story() -> None:
        fails = [True, False]

        async def write(items: Sequence[int]) -> Sequence[int]:
            if fails.pop(0):
                raise StoreError("The disk is full.")
            return items

        group = GroupCommit(write)
        results = await asyncio.gather(group.put(1), group.put(2), return_exceptions=True)
        assert [type(r) for r in results] == [StoreError, StoreError]
        with pytest.raises(IndexError):
            await asyncio.gather(group.put(3), _then(group))

    async def _then(group: GroupCommit[int, int]) -> None:
        await asyncio.sleep(0)
        await group.put(4)
        await group.put(5)

    asyncio.run(story())
