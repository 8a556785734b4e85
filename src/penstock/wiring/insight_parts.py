"""Joins what the server knows of the calls it answered; called by `assembly`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from penstock.control import webhook_urls
from penstock.control.addresses import Allowance
from penstock.control.alerts import Alerts
from penstock.control.database import Database
from penstock.control.insight.kept_calls import KeepOptions
from penstock.control.insight.metrics import Metrics
from penstock.control.insight.monitoring import Monitoring
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.run_details import Details
from penstock.control.insight.run_list import RunLists
from penstock.control.insight.run_logs import Logs
from penstock.control.insight.samples import Samples
from penstock.control.insight.series import Series
from penstock.control.insight.store_thread import InsightThread
from penstock.control.pools import Pools
from penstock.control.predict import Predictor
from penstock.control.runs import Runs
from penstock.control.status import SandboxView
from penstock.server.endpoints import Insight
from penstock.server.settings import Settings
from penstock.stores.insight_base import Limits
from penstock.stores.sqlite_insight import SqliteInsight
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.tracing import make_traces

log = logging.getLogger("penstock.insight")

#: Seconds between two looks at how much is kept.
PURGE_S = 60.0

#: Kept calls of each kind, and how long stored points last, by their length (seconds).
_MOST_CALLS = 1_000_000
_POINTS_LAST_S = {60: 2 * 86400.0, 600: 92 * 86400.0}


#: Predictions whose truth may still come, and seconds that truths and profiles last.
_MOST_PREDICTIONS = 1_000_000
_TRUTHS_LAST_S = 92 * 86400.0


@dataclass(frozen=True)
class InsightParts:
    """The parts, and what keeps them running."""

    insight: Insight
    recorder: Recorder
    thread: InsightThread
    settings: Settings

    async def start(self) -> None:
        """Go on with what was recorded and watched."""
        await self.recorder.start()
        await self.insight.monitoring.start()

    async def forget(self, project: str, deployment: str, last: int) -> None:
        """Forget what is known of a deployment that was deleted; `last` is its latest version."""
        try:
            await self.insight.monitoring.remove(project, deployment)
        finally:
            await self.recorder.forget(project, deployment, last)

    def aside(self) -> list[Coroutine[None, None, None]]:
        """Return what goes on beside serving, until cancelled."""
        return [self.keep_small(), self.insight.monitoring.work()]

    async def keep_small(self) -> None:
        """Forget what is old or too much, now and every minute, until cancelled."""
        while True:
            try:
                await self.thread.call(self.thread.store.purge, self._limits())
                since = time.time() - _TRUTHS_LAST_S
                monitor = self.thread.store.monitor
                await self.thread.call(monitor.purge, _MOST_PREDICTIONS, since)
            except Exception:
                log.exception("Old figures could not be forgotten.")
            await asyncio.sleep(PURGE_S)

    def _limits(self) -> Limits:
        now, settings = time.time(), self.settings
        return Limits(
            calls_since=now - settings.run_retention_s,
            failures=_MOST_CALLS,
            successes=_MOST_CALLS,
            lines=settings.log_lines,
            points_since={step: now - lasts for step, lasts in _POINTS_LAST_S.items()},
            file_bytes=settings.insight_bytes,
        )

    async def close(self) -> None:
        """Write what there is and close the file."""
        await self.insight.monitoring.count()
        await self.recorder.close()
        await self.thread.close()


async def open_insight(folder: DataFolder) -> InsightThread:
    """Open the file of a data folder on its thread."""
    return await InsightThread.open(lambda: SqliteInsight(folder.insight))


def make_insight(
    settings: Settings,
    database: Database,
    thread: InsightThread,
    predictor: Predictor,
    pools: Pools,
    runs: Runs,
    alerts: Alerts,
    version: str,
    sandbox: Callable[[], SandboxView | None],
) -> InsightParts:
    """Return the parts: nothing is recorded before `Recorder.start`."""
    allowed = Allowance(settings.webhook_allow)

    def check_url(url: str) -> str:
        return webhook_urls.check_url(url, allowed)

    options = KeepOptions(
        successes=settings.keep_successes,
        per_minute=settings.keep_successes_per_minute,
        samples=Samples(settings.samples),
        sample_bytes=settings.sample_bytes,
    )
    traces = make_traces(settings.traces, version)
    recorder = Recorder(predictor, thread, options, traces)
    monitoring = Monitoring(recorder, thread, check_url, alerts.tell)
    insight = Insight(
        series=Series(recorder, thread),
        runs=RunLists(database, thread),
        details=Details(database, thread, runs.payloads, options),
        logs=Logs(recorder, thread),
        metrics=Metrics(recorder, predictor, pools, runs, version, sandbox),
        monitoring=monitoring,
    )
    return InsightParts(insight, recorder, thread, settings)
