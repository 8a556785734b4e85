"""What functions printed and logged, by run or by deployment, and as it comes.

`take` is given every line that workers print; `Logs.lines` is called by the log routes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from penstock.codec.log_lines import Said
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.store_thread import InsightThread
from penstock.core.insight_records import LogFilter, LogLine
from penstock.engine.base import VersionKey


class LineView(msgspec.Struct, frozen=True):
    """One line.

    `seq` is its place: `after` and `before` of the next question. `level` is `print` or `stderr`
    for what was printed, a level of `logging` for what was logged, `output` for what no run said
    (loading, other threads). `stage` is 0 and `run_id` null outside of a run.
    """

    seq: int
    at: float
    deployment: str
    version: int
    run_id: str | None
    stage: int
    function: str
    level: str
    text: str


class Lines(msgspec.Struct, frozen=True):
    """Lines in the order they came. `last` is the `after` that asks for what comes later."""

    lines: list[LineView]
    last: int


class Logs:
    """Log lines. Every method runs on the event loop.

    Args:
        recorder: Writes them.
        thread: Where they are.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        recorder: Recorder,
        thread: InsightThread,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._recorder = recorder
        self._thread = thread
        self._now = now

    def take(self, key: VersionKey, said: list[Said]) -> None:
        """Keep lines that workers of a version printed."""
        now = self._now()
        self._recorder.add_lines([_line(key, one, now) for one in said if one.text.strip()])

    async def lines(
        self,
        wanted: LogFilter,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
        wait_s: float = 0.0,
    ) -> Lines:
        """Return lines: the first ones after `after`, else the last ones (before `before`).

        With `wait_s` it waits so long for the first line after `after`.
        """
        until = time.monotonic() + wait_s
        while True:
            written = self._recorder.lines_written
            read = self._thread.store.lines
            found = await self._thread.call(read, wanted, limit, after=after, before=before)
            left = until - time.monotonic()
            if found or left <= 0 or after is None:
                break
            more = asyncio.ensure_future(written.wait())
            try:
                await asyncio.wait({more}, timeout=left)
            finally:
                more.cancel()
        last = found[-1].seq if found else after or 0
        return Lines([_view(line) for line in found], last)


def _line(key: VersionKey, said: Said, now: float) -> LogLine:
    return LogLine(
        project=key.project,
        deployment=key.deployment,
        version=key.number,
        at=said.at or now,
        text=said.text,
        run_id=said.run_id,
        stage=said.stage,
        function=said.function,
        level=said.level,
    )


def _view(line: LogLine) -> LineView:
    return LineView(
        seq=line.seq,
        at=line.at,
        deployment=line.deployment,
        version=line.version,
        run_id=line.run_id,
        stage=line.stage,
        function=line.function,
        level=line.level,
        text=line.text,
    )
