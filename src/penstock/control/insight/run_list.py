"""One list of runs: asynchronous ones and kept synchronous calls, newest first.

Called by `GET /v1/<project>/runs` and the dashboard. Each kind comes from its own store, filtered
and ordered there; a page is what is newest of both. The place where a page ends is a cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from penstock.control.database import Database
from penstock.control.insight.store_thread import InsightThread
from penstock.core.errors import InvalidSetting
from penstock.core.insight_records import CallRecord, RunCursor, RunFilter
from penstock.core.run_records import ReplicaId, RunRecord
from penstock.core.states import RunState

#: How a run was asked for.
Kind = Literal["sync", "async"]


class RunSummary(msgspec.Struct, frozen=True):
    """A run in a list.

    `kind` is how it was asked for: `sync` for a call that waited for its answer, `async` for one
    that was answered 202. Of good synchronous calls only a sample is kept. Times are seconds since
    the epoch. `run_time_ms` is the time inside the server: for a synchronous call from arrival to
    answer, for an asynchronous run that of the attempt that succeeded. `replica` is which one of
    its version answered.
    """

    run_id: str
    kind: str
    deployment: str
    version: int | None
    state: str
    attempt: int
    priority: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    run_time_ms: float | None
    points: int
    error_code: str | None
    replica: ReplicaId | None = None


class RunList(msgspec.Struct, frozen=True):
    """Runs, newest first. `next` is the `before` of the following page, None on the last."""

    runs: list[RunSummary]
    next: str | None


class RunLists:
    """Lists runs of both kinds. Every method runs on the event loop.

    Args:
        database: Where asynchronous runs are.
        thread: Where kept calls are.
    """

    def __init__(self, database: Database, thread: InsightThread) -> None:
        self._database = database
        self._thread = thread

    async def list(
        self, wanted: RunFilter, kind: Kind | None, limit: int, before: str | None
    ) -> RunList:
        """Return a page of runs.

        Args:
            wanted: Which.
            kind: Only runs of this kind; None for both.
            limit: Most runs of the page.
            before: `next` of the page before, or None for the first.

        Raises:
            InvalidSetting: `before` is no such place.
        """
        place = None if before is None else read_cursor(before)
        found: list[RunSummary] = []
        if kind != "async":
            calls = self._thread.store.calls
            kept = await self._thread.call(calls, wanted, limit + 1, place)
            found += map(summary_of_call, kept)
        if kind != "sync":
            runs = self._database.records.runs.find
            records = await self._database.call(runs, wanted, limit + 1, place)
            found += map(summary_of_run, records)
        found.sort(key=lambda run: (run.created_at, run.run_id), reverse=True)
        page = found[:limit]
        following = cursor_of(page[-1]) if len(found) > limit else None
        return RunList(page, following)


def cursor_of(run: RunSummary) -> str:
    """Return the place of a run in the list as text."""
    return f"{run.created_at!r}_{run.run_id}"


def read_cursor(text: str) -> RunCursor:
    """Return the place that `cursor_of` wrote. Raises `InvalidSetting` for anything else."""
    time, _, run_id = text.partition("_")
    try:
        return RunCursor(float(time), run_id)
    except ValueError:
        raise InvalidSetting(
            f"before is {text[:60]!r}; it must be the next of a page before."
        ) from None


def summary_of_call(call: CallRecord) -> RunSummary:
    """Return a kept call as it stands in lists."""
    return RunSummary(
        run_id=call.run_id,
        kind="sync",
        deployment=call.deployment,
        version=call.version,
        state=call.state.value,
        attempt=1,
        priority=0,
        created_at=call.created_at,
        started_at=call.created_at,
        finished_at=call.created_at + call.run_time_ms / 1e3,
        run_time_ms=call.run_time_ms,
        points=call.points,
        error_code=call.code,
        replica=call.replica,
    )


def summary_of_run(run: RunRecord) -> RunSummary:
    """Return an asynchronous run as it stands in lists."""
    return RunSummary(
        run_id=run.run_id,
        kind="async",
        deployment=run.deployment,
        version=run.version,
        state=run.state.value,
        attempt=run.attempt,
        priority=run.priority,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        run_time_ms=run.run_time_ms,
        points=run.points,
        error_code=None if run.error is None else run.error.get("code"),
        replica=run.replica,
    )


def states_named(names: Sequence[str]) -> tuple[RunState, ...]:
    """Return the states of these names. Raises `InvalidSetting` for one that is none."""
    known = {state.value: state for state in RunState}
    for name in names:
        if name not in known:
            raise InvalidSetting(
                f"There is no state {name[:40]!r}; the states are {', '.join(known)}."
            )
    return tuple(known[name] for name in names)
