"""The protocol of the store of what calls did: kept calls, log lines, figures over time.

It is apart from the records, because nothing depends on it: a crash may cost the last second, and
it may be deleted while the server is stopped. Called from one thread of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from penstock.core.insight_records import (
    CallRecord,
    LogFilter,
    LogLine,
    RunCursor,
    RunFilter,
    StoredPoint,
    Switch,
    VersionTotal,
)


class Batch(NamedTuple):
    """What is written in one transaction. Totals are added to those that are stored."""

    calls: Sequence[CallRecord] = ()
    lines: Sequence[LogLine] = ()
    points: Sequence[StoredPoint] = ()
    totals: Sequence[VersionTotal] = ()
    switches: Sequence[Switch] = ()


class Limits(NamedTuple):
    """What `purge` keeps: times in seconds since the epoch, numbers of rows, bytes of the file."""

    calls_since: float
    failures: int
    successes: int
    lines: int
    points_since: dict[int, float]
    file_bytes: int


class InsightStore(Protocol):
    """Kept calls, log lines and figures. Every method is one transaction."""

    def write(self, batch: Batch) -> None:
        """Keep what happened. A run id or a point that is known already is replaced."""

    def calls(
        self, wanted: RunFilter, limit: int, before: RunCursor | None
    ) -> Sequence[CallRecord]:
        """Return kept calls without input, result and error, newest first, after a place."""

    def call(self, run_id: str) -> CallRecord | None:
        """Return one kept call, or None."""

    def lines(
        self, wanted: LogFilter, limit: int, *, after: int | None = None, before: int | None = None
    ) -> Sequence[LogLine]:
        """Return log lines in the order they came.

        The first ones with a `seq` over `after` if that is given, else the last ones (with a `seq`
        under `before`).
        """

    def points(
        self, step_s: int, since: float, project: str | None, deployment: str | None
    ) -> Sequence[StoredPoint]:
        """Return points of one step that start at `since` or later, by time."""

    def totals(self, project: str, deployment: str) -> Sequence[VersionTotal]:
        """Return what the versions of a deployment have answered."""

    def switches(self, project: str, deployment: str, since: float) -> Sequence[Switch]:
        """Return which version began to serve when, by time."""

    def forget(self, project: str, deployment: str) -> None:
        """Forget all of a deployment that was deleted."""

    def purge(self, limits: Limits) -> None:
        """Forget what is old or too much."""

    def close(self) -> None:
        """Close the file."""
