"""How many replicas there are while one is being replaced by another."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.engine.base import VersionKey, VersionSpec
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.logs import LogTail
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.supervisor import Supervisor

SPEC = VersionSpec(VersionKey("shop", "prices", 1), b"{}", {})


class Replica:
    """One without a process: ready when it is let, gone when it is told."""

    exit, suspect, weight, inline_bytes, calls = "", False, 0, 0, 1

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.died = asyncio.Event()
        self.outstanding: dict[int, Any] = {}

    async def start(self) -> None:
        await self.may_start.wait()

    async def stop(self) -> None:
        self.died.set()


class Bench:
    def __init__(self) -> None:
        self.made: list[Replica] = []
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(loop, EngineOptions(), SPEC)
        make: Any = self._make
        self.supervisor = Supervisor(SPEC.key, self.dispatcher, LogTail(), make)

    def _make(self) -> Replica:
        self.made.append(Replica())
        return self.made[-1]

    async def start(self, count: int) -> None:
        starting = asyncio.create_task(self.supervisor.start(count))
        while len(self.dispatcher.ready) < count:
            for replica in self.made:
                replica.may_start.set()
            await asyncio.sleep(0)
        await starting

    async def recycle(self, number: int) -> None:
        """Have a replica replaced by one that is not ready yet."""
        before = len(self.made)
        replica: Any = self.made[number]
        assert self.supervisor.recycle(replica)
        while len(self.made) == before:  # noqa: ASYNC110
            await asyncio.sleep(0)


def run(test: Any) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(test(bench), 10)
        finally:
            await bench.supervisor.stop()

    asyncio.run(main())


def test_a_version_falls_asleep_while_a_replica_is_being_replaced():
    async def test(bench: Bench) -> None:
        await bench.start(1)
        await bench.recycle(0)
        bench.supervisor.set_count(0)
        await bench.supervisor.emptied()
        assert bench.dispatcher.ready == []
        assert bench.supervisor.replicas == []
        assert [replica.died.is_set() for replica in bench.made] == [True, True]

    run(test)


def test_fewer_replicas_are_wanted_while_all_are_being_replaced():
    async def test(bench: Bench) -> None:
        await bench.start(2)
        await bench.recycle(0)
        await bench.recycle(1)
        bench.supervisor.set_count(1)
        for replica in bench.made:
            replica.may_start.set()
        await bench.supervisor.emptied()
        assert bench.supervisor.count == 1
        assert len(bench.supervisor.replicas) == len(bench.dispatcher.ready) == 1

    run(test)
