"""Gives a version what it needs before it may serve: its environment, and a pool with it loaded.

Called by `deploys`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from penstock.codec.bundle import Example, Interpreter, Manifest
from penstock.control.builds import Notes
from penstock.control.database import Database
from penstock.control.deploy_failures import LOG_LINES, blame_versions
from penstock.control.environments import Environments
from penstock.control.events import LogEvent, Report, StepEvent
from penstock.control.pools import Pools
from penstock.control.trial import run_example
from penstock.core.errors import ExampleFailed, LoadFailed, PenstockError
from penstock.core.records import VersionRecord
from penstock.engine.base import Pool
from penstock.environments.describe import describe
from penstock.stores.base import BlobStore


class _Lines:
    """Reports what a version's workers print until the deploy is over."""

    def __init__(self, report: Report) -> None:
        self.report: Report | None = report

    def __call__(self, line: str) -> None:
        if self.report is not None:
            self.report(LogEvent(line))


class Preparation:
    """Prepares recorded versions. Every method runs on the event loop.

    Args:
        database: Where a version's environment is noted.
        pools: The running versions.
        blobs: Where the bundles' files are.
        environments: Those that versions have for themselves.
    """

    def __init__(
        self, database: Database, pools: Pools, blobs: BlobStore, environments: Environments
    ) -> None:
        self._database = database
        self._pools = pools
        self._blobs = blobs
        self._environments = environments

    async def give_environment(
        self,
        record: VersionRecord,
        manifest: Manifest,
        python: Interpreter,
        report: Notes,
        *,
        force: bool,
    ) -> VersionRecord:
        """Have an environment for a version, and return its record with it.

        Args:
            record: The version.
            manifest: Its manifest.
            python: The interpreter that was chosen for it.
            report: Called with each event.
            force: Whether to resolve and build anew.
        """
        environments, server = self._environments, await asyncio.to_thread(describe)
        lock = await environments.lock(manifest, python, server, report, force=force)
        with environments.holding(lock.key):
            settings = replace(record.settings, environment=lock.key)
            await environments.build(lock, manifest, report)
            return await self._database.call(
                self._database.records.set_version_settings,
                record.project,
                record.deployment,
                record.number,
                settings,
            )

    async def load(self, record: VersionRecord, manifest: Manifest, report: Notes) -> Pool:
        """Return a pool of a version that has answered the version's example.

        Raises:
            LoadFailed: It did not load; the message names a version of a library that may be why.
            ExampleFailed: It did not answer its example.
            PenstockError: As `Pools.start` says.
        """
        report(StepEvent("loading", "Loading the version in a worker."))
        lines = _Lines(report)
        try:
            pool = await self._pools.start(record, on_line=lines)
            if manifest.example is not None:
                report(StepEvent("example", "Sending the example."))
                await self._try_example(record, pool, manifest.example)
        except (LoadFailed, ExampleFailed) as error:
            packages = await self._environments.packages(record.settings.environment)
            blame_versions(error, manifest, packages)
            raise
        finally:
            lines.report = None
        return pool

    async def _try_example(self, record: VersionRecord, pool: Pool, example: Example) -> None:
        body = await asyncio.to_thread(self._blobs.read, example.body.sha256)
        try:
            await run_example(pool, example.media_type, body, record.settings.timeout_s)
        except PenstockError as error:
            error.facts.setdefault("logs", pool.logs()[-LOG_LINES:])
            raise
