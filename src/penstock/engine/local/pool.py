"""The running replicas of one version: joins dispatcher, supervisor and logs."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path

from penstock.core.errors import PenstockError
from penstock.engine.base import ReplicaStatus, VersionKey, VersionSpec
from penstock.engine.local import failures
from penstock.engine.local.dispatcher import Dispatcher
from penstock.engine.local.logs import LogTail, OnLine
from penstock.engine.local.replica import Replica, Surroundings
from penstock.engine.local.supervisor import Supervisor


class LocalPool:
    """See `penstock.engine.base.Pool`."""

    def __init__(
        self,
        around: Surroundings,
        spec: VersionSpec,
        scratch: Path,
        on_line: OnLine | None,
        on_stopped: Callable[[LocalPool], None],
    ) -> None:
        self._around = around
        self._spec = spec
        self._scratch = scratch
        self._on_stopped = on_stopped
        self._tail = LogTail(on_line)
        self._dispatcher = Dispatcher(around.loop, around.options, spec)
        self._supervisor = Supervisor(spec.key, self._dispatcher, self._tail, self._make)
        self.submit = self._dispatcher.submit
        self.cancel = self._dispatcher.cancel

    @property
    def key(self) -> VersionKey:
        """The version."""
        return self._spec.key

    async def start(self) -> None:
        """Start the replicas; return when the first is ready.

        Raises:
            LoadFailed: It did not load.
        """
        await self._supervisor.start(self._spec.replicas)

    def status(self) -> list[ReplicaStatus]:
        """Return the replicas."""
        restarts = self._supervisor.restarts
        return [
            dataclasses.replace(replica.status(), restarts=restarts)
            for replica in self._supervisor.replicas
        ]

    def logs(self) -> list[str]:
        """Return the last lines the replicas printed, oldest first."""
        return self._tail.lines()

    async def stop(self, drain_s: float) -> None:
        """Take no more calls, answer those taken within `drain_s` seconds, end the replicas."""

        def why() -> PenstockError:
            return failures.stopping(self._spec.key)

        self._dispatcher.stop_taking(why)
        try:
            await asyncio.wait_for(self._dispatcher.idle.wait(), drain_s)
        except asyncio.TimeoutError:
            self._dispatcher.fail_queued(why)
        await self._supervisor.stop()
        self._dispatcher.fail_queued(why)
        self._on_stopped(self)

    def _make(self) -> Replica:
        key = self._spec.key
        name = f"{key.project}-{key.deployment}-{key.number}-{uuid.uuid4().hex[:12]}"
        return Replica(self._around, self._spec, self._scratch / name, self._tail, self._dispatcher)
