"""The protocol of the store of what calls did: kept calls, log lines, figures over time.

It is apart from the records, because nothing depends on it: a crash may cost the last second, and
it may be deleted while the server is stopped. Called from one thread of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from penstock.core.insight_records import (
    Alike,
    CallRecord,
    LogFilter,
    LogLine,
    RunCursor,
    RunFilter,
    StoredPoint,
    Switch,
    VersionTotal,
)
from penstock.core.monitor_records import Feedback, Prediction, Profile, Quality


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


class MonitorStore(Protocol):
    """Watched deployments. Every method is one transaction."""

    def put(self, project: str, deployment: str, data: bytes | None) -> None:
        """Remember how a deployment is watched; None: not any more, its profiles go."""

    def all(self) -> Sequence[tuple[str, str, bytes]]:
        """Return how every watched deployment is watched."""

    def add(self, profiles: Sequence[Profile], predictions: Sequence[Prediction]) -> None:
        """Keep profiles, replacing those of the same start, and predictions."""

    def profiles(self, project: str, deployment: str, since: float) -> Sequence[Profile]:
        """Return the profiles that begin at `since` or later, by time."""

    def predictions(self, ids: Sequence[str]) -> dict[str, Prediction]:
        """Return predictions by their ids, those that are known."""

    def give(self, truths: Sequence[Feedback]) -> None:
        """Keep truths; one that was told before is replaced."""

    def quality(
        self, project: str, deployment: str, since: float, step_s: int
    ) -> Sequence[Quality]:
        """Return how good predictions were, by version and steps of the time they were made."""

    def truths(self, run_id: str) -> dict[str, tuple[str, bool | None]]:
        """Return the truths of a run's predictions by their ids, and whether they were met."""

    def purge(self, predictions: int, since: float) -> None:
        """Keep the newest predictions, and truths and profiles from `since` on."""


class InsightStore(Protocol):
    """Kept calls, log lines and figures. Every method is one transaction."""

    @property
    def monitor(self) -> MonitorStore:
        """The watched deployments, in the same file."""

    def write(self, batch: Batch) -> None:
        """Keep what happened. A run id or a point that is known already is replaced."""

    def calls(
        self, wanted: RunFilter, limit: int, before: RunCursor | None
    ) -> Sequence[CallRecord]:
        """Return kept calls without input, result and error, newest first, after a place."""

    def call(self, run_id: str) -> CallRecord | None:
        """Return one kept call, or None."""

    def alike(self, run_id: str, since: float, most: int) -> Sequence[Alike]:
        """Return which versions failed for the cause that a kept call failed for.

        The cause is the error's code with stage, function and type. Looked at are the newest
        `most` failures of the call's deployment since then. Empty if the call is not known.
        """

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

    def forget(self, project: str, deployment: str) -> bool:
        """Forget some of a deployment that was deleted; return whether more may be there.

        In parts, so that a large history does not keep others from the store.
        """

    def purge(self, limits: Limits) -> None:
        """Forget what is old or too much."""

    def close(self) -> None:
        """Close the file."""
