"""Which versions have running replicas.

One `Pool` per running version, started from its record and stopped by draining. The active version
of a deployment runs for good; any other version runs only while it is called
(`start(…, when_idle=…)`) and is given up when it had no call for some time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from penstock.codec.bundle import read_manifest
from penstock.control.admission import preload_modules
from penstock.control.environments import Environments
from penstock.control.scaling import scale_of
from penstock.control.secrets import Secrets
from penstock.core.errors import NotReady, PenstockError
from penstock.core.records import Scaling, VersionRecord
from penstock.engine.base import Engine, Pool, Scale, VersionKey, VersionSpec
from penstock.stores.base import BlobStore
from penstock.stores.failures import file_failure

log = logging.getLogger("penstock.versions")


def key_of(record: VersionRecord) -> VersionKey:
    """Return the engine's key of a version."""
    return VersionKey(record.project, record.deployment, record.number)


def _scale_of_version(record: VersionRecord) -> Scale:
    return scale_of(record.settings, Scaling())


class Pools:
    """The running versions. Every method runs on the event loop.

    Args:
        engine: What runs them.
        blobs: Where their files are.
        preload: Model type to modules imported before its workers are forked.
        idle_s: Seconds without a call after which a version started for a while is stopped.
        drain_s: Seconds that calls in hand get when a version is stopped.
        secrets: Gives each version those it declares.
        gpu_types: Model types that can use a GPU.
    """

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        preload: Mapping[str, Sequence[str]],
        *,
        idle_s: float,
        drain_s: float,
        secrets: Secrets,
        gpu_types: frozenset[str] = frozenset(),
    ) -> None:
        self._secrets = secrets
        self._gpu_types = gpu_types
        self._engine = engine
        self._blobs = blobs
        self._preload = preload
        self._idle_s = idle_s
        self._drain_s = drain_s
        #: How many replicas a version may have; `Serving` knows better than the version alone.
        self.scale_of: Callable[[VersionRecord], Scale] = _scale_of_version
        #: Where the environments of versions are; None where no version has one.
        self.environments: Environments | None = None
        #: Told of each version that is about to be started.
        self.on_start: Callable[[VersionRecord], None] = lambda _record: None
        self._running: dict[VersionKey, Pool] = {}
        self._starts: dict[VersionKey, asyncio.Task[Pool]] = {}
        self._watchers: dict[VersionKey, asyncio.Task[None]] = {}
        self._stops: set[asyncio.Task[None]] = set()

    def get(self, key: VersionKey) -> Pool | None:
        """Return the running pool of a version, or None."""
        return self._running.get(key)

    def running(self) -> list[tuple[VersionKey, Pool]]:
        """Return the versions that run, with their pools."""
        return list(self._running.items())

    async def start(
        self,
        record: VersionRecord,
        *,
        when_idle: Callable[[VersionKey], None] | None = None,
        on_line: Callable[[str], None] | None = None,
        asleep: bool = False,
    ) -> Pool:
        """Return the version's pool, starting it first if it does not run.

        Callers that ask at the same time share one start. `when_idle` is called once a pool that
        was started here had no calls for a while, unless `keep` was called; it should stop it.
        `on_line` gets every line that a pool started here prints. With `asleep` no worker is
        started before the first call.

        Raises:
            LoadFailed: The version did not load.
            EnvironmentFailed: Its environment is gone and cannot be built again.
            BlobMissing: A file of the version is gone.
            BlobCorrupt: A file of the version has changed on disk.
            StoreError: The disk has no room for its workers, or fails.
            NotReady: It was stopped before it was ready.
        """
        key = key_of(record)
        running = self._running.get(key)
        if running is not None:
            return running
        begun = self._starts.get(key)
        if begun is None:
            begun = asyncio.create_task(self._start(key, record, when_idle, on_line, asleep))
            self._starts[key] = begun
            begun.add_done_callback(lambda task: self._forget_start(key, task))
        await asyncio.wait({begun})
        if begun.cancelled():
            raise NotReady(f"{key} was stopped while it was starting.")
        return begun.result()

    async def _start(
        self,
        key: VersionKey,
        record: VersionRecord,
        when_idle: Callable[[VersionKey], None] | None,
        on_line: Callable[[str], None] | None,
        asleep: bool,
    ) -> Pool:
        self.on_start(record)
        spec = self._spec(record, asleep)
        if not asleep:
            spec = replace(spec, blobs=await asyncio.to_thread(self._files, record))
        if self.environments is not None:
            wanted = record.settings.environment
            home = await asyncio.to_thread(self.environments.home, wanted)
            spec = replace(spec, environment=home)
        try:
            pool = await self._engine.start(spec, on_line)
        except OSError as error:
            failure = file_failure(error, str(key))
            if failure is None:
                raise
            raise failure from error
        self._running[key] = pool
        if when_idle is not None:
            watch = self._watch(key, pool, when_idle)
            self._watchers[key] = asyncio.create_task(watch)
        return pool

    def _spec(self, record: VersionRecord, asleep: bool) -> VersionSpec:
        settings, scale = record.settings, self.scale_of(record)
        if not asleep:
            # What does not serve yet must not fall asleep; `Serving` gives it its own scale then.
            scale = replace(scale, low=max(1, scale.low))
        manifest = read_manifest(record.manifest)
        return VersionSpec(
            key=key_of(record),
            manifest=record.manifest,
            blobs={},
            preload=preload_modules(manifest, self._preload),
            replicas=scale.low,
            threads=settings.threads,
            max_batch=settings.max_batch,
            concurrency=settings.concurrency,
            network=settings.network,
            max_queue=settings.max_queue,
            timeout_s=settings.timeout_s,
            scale=scale,
            find_blobs=partial(self._files, record),
            memory_limit_bytes=settings.memory_limit_bytes,
            find_secrets=self._secrets.provider(key_of(record), settings.secrets),
            hardware=settings.hardware,
            gpu=settings.gpu,
            can_use_gpu=any(s.model_type in self._gpu_types for _number, s in manifest.walk()),
        )

    def _forget_start(self, key: VersionKey, task: asyncio.Task[Pool]) -> None:
        if self._starts.get(key) is task:
            del self._starts[key]
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for this start any more

    def _files(self, record: VersionRecord) -> dict[str, Path]:
        """Return the paths of a version's files, all that it needs being there; blocks."""
        if self.environments is not None:
            self.environments.ensure(record.settings.environment)
        blobs = read_manifest(record.manifest).blobs()
        return {sha256: self._blobs.path(sha256) for sha256 in blobs}

    def keep(self, key: VersionKey) -> None:
        """Let a version run for good, also one that was started for a while."""
        watcher = self._watchers.pop(key, None)
        if watcher is not None:
            watcher.cancel()

    def stop(self, key: VersionKey, drain_s: float | None = None) -> asyncio.Task[None] | None:
        """Stop a version in the background; None if it does not run.

        The pool is forgotten at once; calls it holds are answered within `drain_s` seconds (the
        drain time by default).
        """
        begun = self._starts.pop(key, None)
        if begun is not None:
            begun.cancel()
        self.keep(key)
        pool = self._running.pop(key, None)
        if pool is None:
            return None
        task = asyncio.create_task(self._drain(pool, self._drain_s if drain_s is None else drain_s))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)
        return task

    async def _drain(self, pool: Pool, drain_s: float) -> None:
        try:
            await pool.stop(drain_s)
        except PenstockError:
            log.exception("Stopping %s failed.", pool.key)

    async def _watch(
        self, key: VersionKey, pool: Pool, when_idle: Callable[[VersionKey], None]
    ) -> None:
        seen = -1
        while True:
            replicas = pool.status()
            calls = sum(r.calls for r in replicas)
            if calls == seen and not any(r.in_flight for r in replicas):
                break
            seen = calls
            await asyncio.sleep(self._idle_s)
        self._watchers.pop(key, None)
        log.info("%s had no call for %g s.", key, self._idle_s)
        when_idle(key)

    async def close(self, drain_s: float) -> None:
        """Give up what is being started and let every running version drain."""
        for task in [*self._starts.values(), *self._watchers.values()]:
            task.cancel()
        for key in list(self._running):
            self.stop(key, drain_s)
        if self._stops:
            await asyncio.wait(set(self._stops))
