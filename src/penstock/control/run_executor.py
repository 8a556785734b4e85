"""Runs asynchronous runs: claims them, feeds them to the pools that sync calls use, records ends.

One per server process, on the event loop; made by `penstock.wiring`, woken by `runs` when a run is
accepted and by the route table when a version begins to serve. Between such events it sleeps until
the next retry is due. Each deployment has a lane with room for a few runs at a time, so that sync
calls find the queue of their pool short.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.control.database import Database
from penstock.control.group_commit import GroupCommit
from penstock.control.predict import Answer, Predictor, predict_path
from penstock.control.run_lanes import Held, Lane
from penstock.control.run_leases import Losses, RunLeases
from penstock.control.run_outcomes import error_json, outcome_of
from penstock.control.run_payloads import RunPayloads, discard
from penstock.core.errors import NotFound, NotReady, PenstockError
from penstock.core.faults import fault
from penstock.core.names import new_run_id
from penstock.core.run_records import Name, Outcome, RunRecord
from penstock.core.states import RunState
from penstock.stores.base import FARTHEST_RETRY_S

log = logging.getLogger("penstock.runs")

#: Seconds before a store that failed is asked again.
STORE_RETRY_S = 1.0

#: Seconds after which the next retry is looked for again, whatever the clock says.
LONGEST_SLEEP_S = 60.0


@dataclass(frozen=True)
class RunOptions:
    """How runs are run.

    Attributes:
        at_once: Runs of one deployment that are with its pool at a time.
        lease_s: Seconds a claim holds without a heartbeat; a heartbeat comes three times as often.
        max_crashes: Attempts a run may lose to deaths of workers and servers.
    """

    at_once: int = 4
    lease_s: float = 30.0
    max_crashes: int = 5


class RunExecutor:
    """Claims and runs. `start` once, then `wake`; `close` at the end.

    Args:
        database: Where runs are.
        predictor: The route table.
        payloads: Inputs and results.
        ended: Called with each run (as it now is, by id) that reached its end here.
        options: How much at a time.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        predictor: Predictor,
        payloads: RunPayloads,
        ended: Callable[[str, bool], None],
        options: RunOptions,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._database = database
        self._predictor = predictor
        self._payloads = payloads
        self._ended = ended
        self._now = now
        self._owner = new_run_id()
        self._lanes: dict[Name, Lane] = {}
        self._held: dict[tuple[str, int], Held] = {}
        self._event = asyncio.Event()
        self._closed = False
        self._in_doubt = False
        self._loops: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._ends = GroupCommit(self._write_ends)
        losses = Losses(self._abort, self.wake, ended)
        self._leases = RunLeases(
            database, self._held, losses, options.lease_s, options.max_crashes, now
        )
        predictor.route_listeners.append(self.wake)

    async def start(self) -> None:
        """Take back what earlier incarnations held, and begin."""
        await self._leases.reclaim(self._owner)
        store = self._database.records.runs
        for name in await self._database.call(store.waiting):
            self.wake(*name)
        self._loops = [asyncio.create_task(self._work()), asyncio.create_task(self._leases.beat())]

    def wake(self, project: str, deployment: str) -> None:
        """Look for due runs of a deployment soon."""
        lane = self._lane((project, deployment))
        lane.due = 0.0
        self._event.set()

    def _lane(self, name: Name) -> Lane:
        return self._lanes.setdefault(name, Lane(name))

    def cancel(self, run_id: str) -> None:
        """Give up what is held of a run; the store knows already."""
        for held in [h for h in self._held.values() if h.run.run_id == run_id]:
            self._abort(held)

    def _abort(self, held: Held) -> None:
        held.aborted = True
        if held.answer is not None and not held.answer.done():
            held.answer.set_result(None)
            if held.call is not None:
                self._predictor.cancel(held.call)

    # --- claiming ---

    async def _work(self) -> None:
        while True:
            await self._wait()
            room = self._room()
            if room:
                try:
                    await self._claim(room)
                except Exception:  # whatever it was, later runs must not wait for a restart
                    log.exception("Runs could not be claimed.")
                    self._in_doubt = True
                    await asyncio.sleep(STORE_RETRY_S)
                    self._event.set()

    async def _wait(self) -> None:
        due = [lane.due for lane in self._lanes.values() if lane.due]
        pause = max(0.0, min(due) - self._now()) if due else None
        # A clock that is set back must not make a retry wait for ever.
        limit = None if pause is None else min(pause, LONGEST_SLEEP_S)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._event.wait(), limit)
        self._event.clear()

    def _room(self) -> dict[Name, int]:
        """Return how many runs of which deployment may be claimed now."""
        now = self._now()
        room = {}
        for name, lane in list(self._lanes.items()):
            # One farther off was planned by a clock that is set back since; the store knows, too.
            if lane.due is None or now < lane.due <= now + FARTHEST_RETRY_S:
                continue
            route = self._predictor.routes.get(predict_path(*name))
            if route is None:
                lane.due = None
                self._spawn(self._fail_orphans(name))
            elif route.pool is None:
                lane.due = None  # the route table wakes us
            elif (free := lane.room(self.options.at_once)) > 0:
                room[name] = free
            else:
                lane.due = None  # the end of a run wakes us
        return room

    async def _claim(self, room: dict[Name, int]) -> None:
        store = self._database.records.runs
        if self._in_doubt:  # the last claim failed, maybe after it was written
            for name in await self._database.call(store.release, self._owner, list(self._held)):
                self.wake(*name)
            self._in_doubt = False
        claims = await self._database.call(
            store.claim, self._owner, room, self._now(), self.options.lease_s
        )
        fault("run.claimed")
        for name, due in claims.later.items():
            lane = self._lane(name)
            # Another run may have been accepted since the store looked.
            if not self._event.is_set():
                lane.due = due
        for run in claims.runs:
            self._take(run)

    def _take(self, run: RunRecord) -> None:
        held = Held(run)
        self._held[run.run_id, run.attempt] = held
        lane = self._lane(run.name)
        (lane.alone if run.worker_deaths else lane.ready).append(held)
        self._advance(lane)

    def _advance(self, lane: Lane) -> None:
        """Begin what the lane lets begin now."""
        while (held := lane.next()) is not None:
            lane.inside.add(held)
            self._spawn(self._execute(lane, held))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _fail_orphans(self, name: Name) -> None:
        """Fail the queued runs of a deployment that is no more."""
        database = self._database
        error = NotFound(f"There is no deployment {name[1]!r} in project {name[0]!r} any more.")
        try:
            if await database.call(database.records.get_deployment, *name) is not None:
                return
            failed = await database.call(
                database.records.runs.fail_queued, name, error_json(error), self._now()
            )
        except Exception:
            log.exception("Runs of a deployment that is no more could not be ended yet.")
            self._lane(name).due = self._now() + STORE_RETRY_S
            self._event.set()
            return
        for run in failed:
            self._ended(run.run_id, run.webhook_url is not None)

    # --- one run ---

    async def _execute(self, lane: Lane, held: Held) -> None:
        try:
            try:
                answer, version = await self._ask(held)
            finally:
                lane.inside.discard(held)
                self._advance(lane)
                self.wake(*lane.name)
            if answer is not None:
                fault("run.answered")
                await self._finish(held, answer, version)
        except Exception:
            # What is held no more is not renewed, so the run is taken back in time.
            log.exception("Run %s is given up by this attempt.", held.run.run_id)
        finally:
            self._held.pop((held.run.run_id, held.run.attempt), None)

    async def _ask(self, held: Held) -> tuple[Answer | None, int | None]:
        """Return the pool's answer (None: nobody wants it any more) and the version asked."""
        run = held.run
        assert run.input is not None
        try:
            body = await self._payloads.body(run.input)
        except PenstockError as broken:
            return Answer(broken.code, error=broken), None
        route = self._predictor.routes.get(predict_path(*run.name))
        if route is None or route.pool is None:
            discard(body)
            error = NotReady(f"Deployment {run.deployment!r} is not serving.")
            return Answer(error.code, error=error), None
        if held.aborted:
            discard(body)
            return None, None
        held.answer = asyncio.get_running_loop().create_future()
        version = route.pool.key.number
        held.call = self._predictor.start_run(
            route,
            run.run_id,
            run.media_type.encode("latin-1", "replace"),
            body,
            lambda _call, answer: _settle(held, answer),
            run.timeout_s,
            run.traceparent.encode("latin-1", "replace"),
        )
        fault("run.handed")
        return await held.answer, version

    async def _finish(self, held: Held, answer: Answer, version: int | None) -> None:
        """Record the end of an attempt and tell those concerned."""
        run = held.run
        outcome, believed = await self._record(run, answer, version)
        fault("run.finished")
        if not believed:
            log.info("A late answer of run %s, attempt %d, is dropped.", run.run_id, run.attempt)
        elif outcome.state is RunState.QUEUED:
            lane = self._lane(run.name)
            lane.due = outcome.due_at if lane.due is None else min(lane.due, outcome.due_at)
            self._event.set()
        else:
            self._ended(run.run_id, run.webhook_url is not None)

    async def _record(
        self, run: RunRecord, answer: Answer, version: int | None
    ) -> tuple[Outcome, bool]:
        """Return the outcome and whether it was believed; while the disk refuses, try again."""
        while True:
            try:
                outcome = await outcome_of(
                    run, answer, version, self._payloads, self.options.max_crashes, self._now()
                )
                return outcome, await self._ends.put(outcome)
            except PenstockError:  # noqa: PERF203 - trying again is the point
                if self._closed:
                    raise
                log.exception("The end of run %s cannot be recorded yet.", run.run_id)
                await asyncio.sleep(STORE_RETRY_S)

    async def _write_ends(self, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        return await self._database.call(self._database.records.runs.finish, outcomes)

    # --- the end ---

    async def close(self, drain_s: float) -> None:
        """Claim nothing more, let what is inside finish within `drain_s` seconds, requeue the rest.

        Requeued runs go on at the next start as if they had not been claimed.
        """
        for task in self._loops:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=drain_s)
        self._closed = True
        left = list(self._held.values())
        for held in left:
            self._abort(held)
        now = self._now()
        back = [Outcome(h.run.run_id, h.run.attempt, RunState.QUEUED, now) for h in left]
        try:
            if back:
                await self._database.call(self._database.records.runs.finish, back)
        except PenstockError:
            log.exception("Runs in hand could not be put back; the next start takes them back.")


def _settle(held: Held, answer: Answer) -> None:
    if held.answer is not None and not held.answer.done():
        held.answer.set_result(answer)
