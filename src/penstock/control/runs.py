"""Asynchronous runs as their callers see them: submit, look, wait, list, cancel.

Called by the run routes and by the predict paths of `penstock.server`. What happens to a run
between 202 and its end is the business of `run_executor`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from penstock.control.database import Database
from penstock.control.group_commit import GroupCommit
from penstock.control.predict import Predictor
from penstock.control.run_executor import RunExecutor, RunOptions
from penstock.control.run_payloads import INLINE_BYTES, RunPayloads, request_digest, take
from penstock.core.errors import Conflict, InvalidSetting, NotFound, Overloaded
from penstock.core.faults import fault, skipped
from penstock.core.names import is_run_id, new_run_id
from penstock.core.run_records import NewRun, RunRecord
from penstock.core.states import TERMINAL_RUN_STATES, RunState
from penstock.engine.base import Body

#: Longest time limit of one attempt, in seconds; largest priority either way.
MAX_TIMEOUT_S = 7 * 86400.0
MAX_PRIORITY = 1_000_000
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Submission:
    """A request to run something later. See `NewRun` for what the fields mean."""

    project: str
    deployment: str
    key_id: str
    media_type: str
    body: Body
    priority: int = 0
    timeout_s: float | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None
    traceparent: str = ""


class Accepted(NamedTuple):
    """The run that answers for a submission, and its state: not `queued` if it came before."""

    run_id: str
    state: RunState


@dataclass(frozen=True)
class Retention:
    """How long finished runs are kept, in seconds, and how many at most; most open ones."""

    finished_s: float = 7 * 86400.0
    finished_runs: int = 1_000_000
    open_runs: int = 100_000


class Runs:
    """The runs of every deployment. Every method runs on the event loop.

    Args:
        database: Where runs are.
        payloads: Inputs and results.
        predictor: The route table.
        check_webhook: Returns a webhook URL in its plain form or raises `InvalidWebhookUrl`.
        options: How much is run at a time.
        retention: How much is kept.
        now: Seconds since the epoch.

    Attributes:
        executor: What runs them.
        delivery_listeners: Each is called when a webhook has to be told of an end.
    """

    def __init__(
        self,
        database: Database,
        payloads: RunPayloads,
        predictor: Predictor,
        check_webhook: Callable[[str], str],
        options: RunOptions,
        retention: Retention,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.payloads = payloads
        self.executor = RunExecutor(database, predictor, payloads, self._ended, options, now)
        self.delivery_listeners: list[Callable[[], None]] = []
        self._database = database
        self._check_webhook = check_webhook
        self._retention = retention
        self._now = now
        self._open = 0
        self._accepts: GroupCommit[NewRun, RunRecord] = GroupCommit(self._add)
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._stopping = False
        self._unawaited: set[asyncio.Future[Accepted]] = set()

    @property
    def open(self) -> int:
        """Runs that are queued or running."""
        return self._open

    async def start(self) -> None:
        """Go on with what is in the store."""
        self._open = await self._database.call(self._database.records.runs.open_runs)
        await self.executor.start()

    # --- submit ---

    async def submit(self, asked: Submission) -> Accepted:
        """Remember a run for good and return its id, or the one of the same idempotency key.

        The body now belongs to this method, whatever happens.

        Raises:
            InvalidSetting: Priority, time limit or idempotency key is out of range.
            InvalidWebhookUrl: The webhook can never be called.
            Overloaded: Too many runs are open.
            Conflict: The idempotency key was used for another request.
            StoreError: It could not be made durable; nothing is remembered.
        """
        data = take(asked.body)
        _check_ranges(asked)
        if self._open >= self._retention.open_runs:
            raise Overloaded(
                f"{self._open} runs are queued or running; the server takes no more just now.",
                hint="Try again later, or raise the server's max_open_runs.",
                retry_after_s=5,
            )
        new = await self._new_run(asked, data)
        fault("run.accepting")
        writing = asyncio.ensure_future(self._accept(new))
        self._unawaited.add(writing)
        writing.add_done_callback(self._unawaited.discard)
        if skipped("run.commit-wait"):
            return Accepted(new.run_id, RunState.QUEUED)
        # Shielded: what is written must be counted and begun, also if nobody waits any more.
        accepted = await asyncio.shield(writing)
        fault("run.accepted")
        return accepted

    async def _new_run(self, asked: Submission, data: bytes | memoryview) -> NewRun:
        url = None if asked.webhook_url is None else self._check_webhook(asked.webhook_url)
        digest = b""
        if asked.idempotency_key is not None:
            if len(data) <= INLINE_BYTES:
                digest = request_digest(asked.media_type, data)
            else:
                digest = await asyncio.to_thread(request_digest, asked.media_type, data)
        return NewRun(
            run_id=new_run_id(),
            project=asked.project,
            deployment=asked.deployment,
            key_id=asked.key_id,
            created_at=self._now(),
            media_type=asked.media_type,
            input=await self.payloads.keep(data),
            priority=asked.priority,
            timeout_s=asked.timeout_s,
            webhook_url=url,
            idempotency_key=asked.idempotency_key,
            request_digest=digest,
            traceparent=asked.traceparent,
        )

    async def _accept(self, new: NewRun) -> Accepted:
        try:
            record = await self._accepts.put(new)
        finally:
            # Also of a write that failed: it may have been made all the same.
            self.executor.wake(new.project, new.deployment)
        if record.run_id == new.run_id:
            self._open += 1
        elif record.request_digest != new.request_digest:
            raise Conflict(
                f"The idempotency key {new.idempotency_key!r} was used for another request.",
                hint="Use a fresh key for a new request; the same key only to repeat one.",
                earlier_run_id=record.run_id,
            )
        return Accepted(record.run_id, record.state)

    async def _add(self, new: Sequence[NewRun]) -> Sequence[RunRecord]:
        return await self._database.call(self._database.records.runs.add, new)

    # --- look ---

    async def get(self, project: str, run_id: str) -> RunRecord:
        """Return a run with its payloads. Raises `NotFound`."""
        record = None
        if is_run_id(run_id):
            record = await self._database.call(self._database.records.runs.get, run_id)
        if record is None or record.project != project:
            raise _no_run(project, run_id)
        return record

    async def wait(self, project: str, run_id: str, seconds: float) -> RunRecord:
        """Return a run once it is at its end, or as it is after some seconds. Raises `NotFound`."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiters.setdefault(run_id, set())
        waiting.add(ended)
        try:
            record = await self.get(project, run_id)
            if record.state in TERMINAL_RUN_STATES or seconds <= 0 or self._stopping:
                return record
            done, _pending = await asyncio.wait({ended}, timeout=seconds)
            return await self.get(project, run_id) if done else record
        finally:
            waiting.discard(ended)
            if not waiting and self._waiters.get(run_id) is waiting:
                del self._waiters[run_id]

    # --- end ---

    async def cancel(self, project: str, run_id: str) -> RunRecord:
        """Make a run `cancelled` unless it is at its end; return it as it now is.

        One that is inside a worker is not interrupted there; what it still returns is dropped.

        Raises:
            NotFound: There is no such run.
        """
        before = await self.get(project, run_id)
        if before.state in TERMINAL_RUN_STATES:
            return before
        now = self._now()
        after = await self._database.call(self._database.records.runs.cancel, run_id, now)
        if after is None:
            raise _no_run(project, run_id)
        if after.state is RunState.CANCELLED and after.finished_at == now:
            self.executor.cancel(run_id)
            self._ended(run_id, after.webhook_url is not None)
        return after

    def _ended(self, run_id: str, to_tell: bool) -> None:
        self._open = max(0, self._open - 1)
        for waiting in self._waiters.get(run_id, ()):
            if not waiting.done():
                waiting.set_result(None)
        if to_tell:
            for listener in self.delivery_listeners:
                listener()

    async def purge(self) -> int:
        """Forget finished runs that are old or too many; return how many."""
        kept = self._retention
        # A write that failed may have been made all the same, and counted wrongly.
        self._open = await self._database.call(self._database.records.runs.open_runs)
        return await self._database.call(
            self._database.records.runs.purge,
            self._now() - kept.finished_s,
            kept.finished_runs,
        )

    def stop_waiting(self) -> None:
        """Answer everybody who waits for a run with the run as it is: the server is stopping."""
        self._stopping = True
        for waiting in self._waiters.values():
            for ended in waiting:
                if not ended.done():
                    ended.set_result(None)

    async def close(self, drain_s: float) -> None:
        """Let runs in hand finish within `drain_s` seconds; the rest goes on at the next start."""
        self.stop_waiting()
        await self.executor.close(drain_s)


def _check_ranges(asked: Submission) -> None:
    if not -MAX_PRIORITY <= asked.priority <= MAX_PRIORITY:
        raise InvalidSetting(f"priority is {asked.priority}; it must be within ±{MAX_PRIORITY}.")
    if asked.timeout_s is not None and not 0.1 <= asked.timeout_s <= MAX_TIMEOUT_S:
        raise InvalidSetting(
            f"timeout_s is {asked.timeout_s:g}; it must be from 0.1 to {MAX_TIMEOUT_S:g}."
        )
    key = asked.idempotency_key
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise InvalidSetting(
            f"The idempotency key has {len(key)} characters; it may have 1 to {MAX_KEY_LENGTH}."
        )


def _no_run(project: str, run_id: str) -> NotFound:
    return NotFound(
        f"There is no run {run_id[:64]!r} in project {project!r}.",
        hint="Finished runs are forgotten after some days; see the server's run_retention_s.",
    )
