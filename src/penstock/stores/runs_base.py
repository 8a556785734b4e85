"""The protocol of the run store. Every implementation passes `tests/contract/test_run_store.py`.

Like every store it is called from the one database thread. One implementation is shared by all
SQL databases: `sql_runs`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from penstock.core.insight_records import RunCursor, RunFilter
from penstock.core.run_records import (
    Claims,
    Name,
    NewRun,
    Outcome,
    Reclaimed,
    RunRecord,
)


class RunStore(Protocol):
    """Asynchronous runs. Each method is one durable transaction.

    A run is claimed under an attempt number; whatever reports the end of an attempt is believed
    only while the run is `running` under that number. Whoever moves a run that has a webhook to a
    terminal state adds its delivery in the same transaction.
    """

    def add(self, new: Sequence[NewRun]) -> Sequence[RunRecord]:
        """Remember runs as `queued`; return, for each, the run that now answers for it.

        That is the new one, unless its deployment has a run of the same idempotency key already:
        then nothing is added and the older run is returned (it has another `run_id`).
        """

    def get(self, run_id: str) -> RunRecord | None:
        """Return a run with its payloads, or None."""

    def find(
        self, wanted: RunFilter, limit: int, before: RunCursor | None = None
    ) -> Sequence[RunRecord]:
        """Return runs without payloads, newest first, after a place in that order."""

    def waiting(self) -> Sequence[Name]:
        """Return the deployments that have queued runs."""

    def open_runs(self) -> int:
        """Return how many runs are queued or running."""

    def claim(self, owner: str, room: Mapping[Name, int], now: float, lease_s: float) -> Claims:
        """Take due runs, up to so many of each deployment: highest priority, then oldest, first.

        Each becomes `running` under the next attempt number, held by `owner` for `lease_s`
        seconds.
        """

    def renew(
        self, held: Sequence[tuple[str, int]], lease_until: float
    ) -> Sequence[tuple[str, int]]:
        """Extend leases, given as run id and attempt; return those that are no longer held."""

    def finish(self, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        """Record the ends of attempts; for each, whether the attempt was still the run's own."""

    def reclaim(
        self, now: float, sole_owner: str | None, max_crashes: int, error: bytes
    ) -> Reclaimed:
        """Take back running runs whose lease is over; they are queued again.

        A run that has lost `max_crashes` attempts that way or by deaths of workers becomes
        `failed` with `error` (JSON) instead.

        Args:
            now: The present time.
            sole_owner: When given, the only holder that can be alive: what any other holds is
                taken back at once.
            max_crashes: Attempts a run may lose.
            error: What a run that lost them all ends with.
        """

    def release(self, owner: str, held: Collection[tuple[str, int]]) -> set[Name]:
        """Queue again what `owner` has claimed and does not know of; return whose runs they are.

        Args:
            owner: Who claimed.
            held: Run id and attempt of all that it knows of.
        """

    def cancel(self, run_id: str, now: float) -> RunRecord | None:
        """Make a run `cancelled` unless it is at its end; return it as it now is, or None."""

    def fail_queued(self, name: Name, error: bytes, now: float) -> Sequence[RunRecord]:
        """Make the queued runs of a deployment `failed` with `error` (JSON); return them."""

    def purge(self, finished_before: float, keep: int) -> int:
        """Forget finished runs: those before a time, and all but the `keep` newest.

        A run whose webhook is still to be told stays. Returns how many were forgotten.
        """

    def blobs(self) -> Sequence[str]:
        """Return the SHA-256 of every blob that an input or result is kept in."""
