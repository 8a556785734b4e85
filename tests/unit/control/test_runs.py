"""Runs over real stores and a pool that answers when told to."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.control import run_outcomes
from penstock.control.predict import Predictor
from penstock.control.run_executor import RunOptions
from penstock.control.run_payloads import RunPayloads, request_digest
from penstock.control.runs import Accepted, Retention, Runs, Submission
from penstock.core.errors import (
    Conflict,
    InvalidSetting,
    NotFound,
    NotReady,
    Overloaded,
    PenstockError,
    StoreError,
    WorkerDied,
)
from penstock.core.names import new_run_id
from penstock.core.run_records import RunRecord
from penstock.core.states import RUN_MOVES, TERMINAL_RUN_STATES, RunState, states_before
from penstock.engine.base import Answer, Body, Call, VersionKey


class TimedPool:
    """Keeps the calls it gets until a test answers them."""

    def __init__(self, number: int = 1) -> None:
        self.key = VersionKey("default", "flow", number)
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []

    def submit(self, call: Call) -> None:
        self.calls.append(call)

    def cancel(self, call: Call) -> None:
        self.cancelled.append(call)
        self.calls.remove(call)

    async def holds(self, count: int) -> list[Call]:
        while len(self.calls) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return self.calls

    def answer(self, call: Call) -> None:
        self.calls.remove(call)
        body = b'{"result":%b,"run_id":"x","run_time_ms":2.5,"prediction_ids":["x-0"]}'
        call.on_done(call, Answer(timing=b"queue;dur=1", body=body % (call.body.data or b"0")))

    def fail(self, call: Call, error: PenstockError) -> None:
        self.calls.remove(call)
        call.on_done(call, Answer(error.code, error=error))


class Bench:
    """Runs, and the pool that its deployment has once `serve` was called."""

    def __init__(self, parts: Any, options: RunOptions, retention: Retention) -> None:
        self.parts = parts
        self.predictor = Predictor(lambda _: None)  # type: ignore[arg-type,return-value]
        self.pool = TimedPool()
        self.told = 0
        self.runs = Runs(
            parts.database,
            RunPayloads(parts.store),
            self.predictor,
            lambda url: url,
            options,
            retention,
        )

        def count() -> None:
            self.told += 1

        self.runs.delivery_listeners.append(count)

    def serve(self) -> None:
        self.predictor.set_route("default", "flow", None, self.pool, 5.0)  # type: ignore[arg-type]

    async def submit(self, body: bytes = b"[1]", **more: Any) -> str:
        accepted = await self.send(body, **more)
        return accepted.run_id

    async def send(self, body: bytes = b"[1]", **more: Any) -> Accepted:
        return await self.runs.submit(
            Submission("default", "flow", "k", "application/json", Body(body), **more)
        )

    async def end(self, run_id: str) -> RunRecord:
        record = await self.runs.wait("default", run_id, 10)
        assert record.state in TERMINAL_RUN_STATES
        return record


@pytest.fixture
def bench(with_parts: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(run_outcomes, "BACKOFF_S", (0.01, 0.02))

    def run(
        story: Callable[[Bench], Awaitable[None]],
        serving: bool = True,
        options: RunOptions | None = None,
        retention: Retention | None = None,
    ) -> None:
        async def scenario(parts: Any) -> None:
            await parts.projects.ensure("default")
            made = Bench(parts, options or RunOptions(), retention or Retention())
            if serving:
                made.serve()
            await made.runs.start()
            try:
                await story(made)
            finally:
                await made.runs.close(0.0)

        with_parts(scenario)

    return run


def test_a_run_goes_through_the_pool_under_its_own_id(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit(b"[7]")
        (call,) = await it.pool.holds(1)
        assert (call.run_id, call.body.data) == (run_id, b"[7]")
        assert call.media_type == b"application/json"
        it.pool.answer(call)
        record = await it.end(run_id)
        assert (record.state, record.version, record.attempt) == (RunState.SUCCEEDED, 1, 1)
        assert record.result is not None
        assert await it.runs.payloads.read(record.result) == b"[7]"
        assert (record.run_time_ms, record.points) == (2.5, 1)

    bench(story)


def test_only_so_many_runs_are_inside_at_once(bench: Any) -> None:
    async def story(it: Bench) -> None:
        ids = [await it.submit() for _ in range(6)]
        await it.pool.holds(2)
        await asyncio.sleep(0.02)
        assert len(it.pool.calls) == 2
        for _ in ids:
            it.pool.answer((await it.pool.holds(1))[0])
        for run_id in ids:
            await it.end(run_id)

    bench(story, options=RunOptions(at_once=2))


def test_a_run_waits_for_a_deployment_that_is_starting(bench: Any) -> None:
    async def story(it: Bench) -> None:
        it.predictor.set_starting("default", "flow")
        run_id = await it.submit()
        assert (await it.runs.wait("default", run_id, 0.02)).state is RunState.QUEUED
        it.serve()
        it.pool.answer((await it.pool.holds(1))[0])
        await it.end(run_id)

    bench(story, serving=False)


def test_a_run_that_waits_for_a_start_fails_when_its_deployment_is_deleted(bench: Any) -> None:
    async def story(it: Bench) -> None:
        it.predictor.set_starting("default", "flow")
        run_id = await it.submit()
        assert (await it.runs.wait("default", run_id, 0.02)).state is RunState.QUEUED
        it.predictor.remove_route("default", "flow", None)
        record = await it.end(run_id)
        assert (record.state, (record.error or {})["code"]) == (RunState.FAILED, "not_found")

    bench(story, serving=False)


def test_runs_of_a_deployment_that_is_gone_fail(bench: Any) -> None:
    async def story(it: Bench) -> None:
        record = await it.end(await it.submit())
        assert (record.state, (record.error or {})["code"]) == (RunState.FAILED, "not_found")

    bench(story, serving=False)


@pytest.mark.parametrize("kind", [NotReady, Overloaded, StoreError, WorkerDied])
def test_what_only_happened_to_a_run_is_tried_again(bench: Any, kind: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit(webhook_url="https://a.example/")
        it.pool.fail((await it.pool.holds(1))[0], kind("not now"))
        it.pool.answer((await it.pool.holds(1))[0])
        record = await it.end(run_id)
        assert (record.state, record.attempt) == (RunState.SUCCEEDED, 2)
        assert it.told == 1

    bench(story)


def test_a_retry_planned_by_a_clock_that_is_set_back_is_made_soon(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.control.run_executor.LONGEST_SLEEP_S", 0.01)

    async def story(it: Bench) -> None:
        monkeypatch.setattr(run_outcomes, "BACKOFF_S", (60.0, 60.0))
        executor, ahead_s = it.runs.executor, 2 * 3600.0
        monkeypatch.setattr(executor, "_now", lambda: time.time() + ahead_s)
        run_id = await it.submit()
        it.pool.fail((await it.pool.holds(1))[0], NotReady("It is starting."))
        while (await it.runs.get("default", run_id)).state is not RunState.QUEUED:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        ahead_s = 0.0
        it.pool.answer((await asyncio.wait_for(it.pool.holds(1), 10))[0])
        await it.end(run_id)

    bench(story)


def test_refusals_of_the_pool_never_use_a_run_up(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        for _ in range(8):
            it.pool.fail((await it.pool.holds(1))[0], Overloaded("not now"))
        it.pool.answer((await it.pool.holds(1))[0])
        assert (await it.end(run_id)).attempt == 9

    bench(story)


def test_a_run_that_was_in_a_dying_worker_goes_in_alone(bench: Any) -> None:
    async def story(it: Bench) -> None:
        suspect = await it.submit(b"[0]")
        it.pool.fail((await it.pool.holds(1))[0], WorkerDied("it died"))
        await it.pool.holds(1)
        others = [await it.submit() for _ in range(3)]
        await asyncio.sleep(0.03)
        assert [c.run_id for c in it.pool.calls] == [suspect]
        it.pool.answer(it.pool.calls[0])
        for call in list(await it.pool.holds(3)):
            it.pool.answer(call)
        for run_id in others:
            await it.end(run_id)

    bench(story)


def test_the_third_death_is_the_last(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        for _ in range(3):
            it.pool.fail((await it.pool.holds(1))[0], WorkerDied("it died"))
        record = await it.end(run_id)
        assert (record.state, record.attempt, record.worker_deaths) == (RunState.FAILED, 3, 3)
        assert (record.error or {})["code"] == "worker_died"

    bench(story)


def test_cancelling_takes_a_run_back_from_the_pool(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit(webhook_url="https://a.example/")
        await it.pool.holds(1)
        assert (await it.runs.cancel("default", run_id)).state is RunState.CANCELLED
        assert [c.run_id for c in it.pool.cancelled] == [run_id]
        assert it.told == 1
        assert (await it.runs.cancel("default", run_id)).state is RunState.CANCELLED
        assert it.told == 1

    bench(story)


def test_the_next_start_goes_on_with_runs_that_were_held(bench: Any) -> None:
    ids: list[str] = []

    async def first(it: Bench) -> None:
        ids.append(await it.submit())
        await it.pool.holds(1)

    async def crash(it: Bench) -> None:
        await it.pool.holds(1)
        ids.append(await it.submit())
        await it.pool.holds(2)
        # As a kill would: what is held stays with this owner.
        it.runs.executor._held.clear()

    async def second(it: Bench) -> None:
        for call in list(await it.pool.holds(2)):
            it.pool.answer(call)
        attempts = [(await it.end(run_id)).attempt for run_id in ids]
        assert attempts == [3, 2]

    for story in (first, crash, second):
        bench(story)


def test_a_store_that_is_gone_at_the_end_does_not_keep_the_rest_from_ending(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: Bench) -> None:
        await it.submit()
        await it.pool.holds(1)

        def gone(_outcomes: Any) -> Any:
            raise StoreError("The database cannot be reached.")

        with monkeypatch.context() as patch:
            patch.setattr(it.parts.database.records.runs, "finish", gone)
            await it.runs.close(0.0)  # the next start takes the run back

    bench(story)


def test_a_lease_that_nobody_renews_is_taken_back_and_the_late_answer_dropped(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        (late,) = await it.pool.holds(1)
        records = it.parts.database.records
        await it.parts.database.call(records.runs.reclaim, 1e12, None, 5, b"{}")
        it.runs.executor.wake("default", "flow")
        await it.pool.holds(2)
        it.pool.answer(late)
        await asyncio.sleep(0.02)
        assert (await it.runs.get("default", run_id)).state is RunState.RUNNING
        it.pool.answer(it.pool.calls[0])
        assert (await it.end(run_id)).attempt == 2

    bench(story)


def test_leases_are_renewed_while_a_run_is_inside(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        (call,) = await it.pool.holds(1)
        await asyncio.sleep(0.5)
        it.pool.answer(call)
        record = await it.end(run_id)
        assert (record.attempt, record.crashes) == (1, 0)

    bench(story, options=RunOptions(lease_s=0.2))


def test_an_end_that_cannot_be_recorded_is_recorded_later(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.control.run_executor.STORE_RETRY_S", 0.01)

    async def story(it: Bench) -> None:
        store = it.parts.database.records.runs
        finish, fails = store.finish, [True, True]

        def refuse(outcomes: Any) -> Any:
            if fails:
                fails.pop()
                raise StoreError("The disk is full.")
            return finish(outcomes)

        monkeypatch.setattr(store, "finish", refuse)
        run_id = await it.submit()
        it.pool.answer((await it.pool.holds(1))[0])
        assert (await it.end(run_id)).state is RunState.SUCCEEDED

    bench(story)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":"mine","message":"\xff"}}',
        b'{"error":7}',
        b'{"error":{"a":[' + b"[" * 9000,
    ],
    ids=["no text", "no object", "no end"],
)
def test_an_error_that_cannot_be_read_ends_its_own_run_only(bench: Any, body: bytes) -> None:
    async def story(it: Bench) -> None:
        ids = [await it.submit() for _ in range(3)]
        broken, *others = list(await it.pool.holds(3))
        it.pool.calls.remove(broken)
        broken.on_done(broken, Answer("mine", body=body))
        for call in others:
            it.pool.answer(call)
        states = {run_id: await it.end(run_id) for run_id in ids}
        failed = states.pop(broken.run_id)
        assert (failed.error or {})["code"] == "internal"
        assert {record.state for record in states.values()} == {RunState.SUCCEEDED}

    bench(story)


@pytest.mark.skipif(sys.platform != "linux", reason="large bodies are memory files on Linux")
def test_a_large_input_waits_while_there_is_no_room_for_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, fails = os.memfd_create, [True, True]

    def refuse(*arguments: Any) -> int:
        if fails:
            fails.pop()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return create(*arguments)

    async def story(it: Bench) -> None:
        run_id = await it.submit(b"[" + b"1," * 300_000 + b"1]")
        monkeypatch.setattr(os, "memfd_create", refuse)
        call = (await it.pool.holds(1))[0]
        os.close(call.body.fd)
        call.body = Body(b"[1]")
        it.pool.answer(call)
        record = await it.end(run_id)
        assert (record.state, record.attempt, fails) == (RunState.SUCCEEDED, 3, [])

    bench(story)


@pytest.mark.parametrize("broken", ["claim", "reclaim"])
def test_a_store_that_breaks_unforeseen_does_not_end_the_work_for_good(
    bench: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr("penstock.control.run_executor.STORE_RETRY_S", 0.01)

    async def story(it: Bench) -> None:
        store = it.parts.database.records.runs
        works, times = getattr(store, broken), 0

        def breaks(*args: Any) -> Any:
            nonlocal times
            times += 1
            if times == 1:
                raise ValueError("No state 'sleeping'.")
            return works(*args)

        monkeypatch.setattr(store, broken, breaks)
        run_id = await it.submit()
        it.pool.answer((await it.pool.holds(1))[0])
        await it.end(run_id)
        while times < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    bench(story, options=RunOptions(lease_s=0.03))


def test_an_attempt_that_breaks_unforeseen_is_given_up_and_the_run_goes_on(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: Bench) -> None:
        submit, fails = it.pool.submit, [True]

        def breaks(call: Call) -> None:
            if fails:
                fails.pop()
                raise RuntimeError("nobody thought of this")
            submit(call)

        monkeypatch.setattr(it.pool, "submit", breaks)
        run_id = await it.submit()
        it.pool.answer((await it.pool.holds(1))[0])
        record = await it.end(run_id)
        assert (record.state, record.attempt, record.crashes) == (RunState.SUCCEEDED, 2, 1)

    bench(story, options=RunOptions(lease_s=1.0))


def test_an_idempotency_key_answers_with_the_first_run_and_its_state(bench: Any) -> None:
    async def story(it: Bench) -> None:
        first = await it.send(b"[1]", idempotency_key="a")
        assert await it.submit(b"[1]", idempotency_key="a") == first.run_id
        with pytest.raises(Conflict, match="'a' was used") as caught:
            await it.send(b"[2]", idempotency_key="a")
        assert caught.value.facts["earlier_run_id"] == first.run_id
        it.pool.answer((await it.pool.holds(1))[0])
        await it.end(first.run_id)
        again = await it.send(b"[1]", idempotency_key="a")
        assert again == Accepted(first.run_id, RunState.SUCCEEDED)

    bench(story)


def test_the_boundary_of_a_multipart_body_does_not_make_another_request() -> None:
    def digest(boundary: str, content: bytes) -> bytes:
        body = b"--%b\r\n\r\n%b\r\n--%b--" % (boundary.encode(), content, boundary.encode())
        return request_digest(f"multipart/form-data; boundary={boundary}", body)

    assert digest("abc", b"1") == digest("xyz-long", b"1")
    assert digest("abc", b"1") != digest("abc", b"2")
    assert request_digest("application/json", b"1") != request_digest("text/plain", b"1")


def test_large_payloads_outlive_the_collector_while_their_run_is_kept(bench: Any) -> None:
    async def story(it: Bench) -> None:
        body = b"[%b]" % (b"1," * 50_000 + b"1")
        run_id = await it.submit(body)
        (call,) = await it.pool.holds(1)
        it.pool.answer(call)
        record = await it.end(run_id)
        it.parts.store._asked.clear()
        collect = it.parts.store.collect
        used = frozenset(await it.parts.database.call(it.parts.database.records.runs.blobs))
        assert collect(used, 1e12) == 0
        assert record.result is not None
        assert len(await it.runs.payloads.read(record.result)) == len(body)
        assert used == {record.result.sha256}  # input and result are the same bytes here

    bench(story)


def test_an_input_whose_file_is_gone_fails_the_run(bench: Any) -> None:
    async def story(it: Bench) -> None:
        it.predictor.set_starting("default", "flow")
        run_id = await it.submit(b'"%b"' % (b"x" * 100_000))
        it.parts.store._asked.clear()
        it.parts.store.collect(frozenset(), 1e12)
        it.serve()
        record = await it.end(run_id)
        assert (record.error or {})["code"] == "blob_missing"

    bench(story, serving=False)


def test_too_many_open_runs_are_refused_and_counted_down_again(bench: Any) -> None:
    async def story(it: Bench) -> None:
        first = await it.submit()
        await it.submit()
        with pytest.raises(Overloaded, match="2 runs are queued or running"):
            await it.submit()
        it.pool.answer((await it.pool.holds(2))[0])
        await it.end(first)
        await it.submit()

    bench(story, retention=Retention(open_runs=2))


@pytest.mark.parametrize(
    "more",
    [
        {"priority": 10**7},
        {"timeout_s": 0.0},
        {"idempotency_key": ""},
        {"idempotency_key": "a" * 300},
    ],
)
def test_values_out_of_range_are_refused(bench: Any, more: dict[str, Any]) -> None:
    async def story(it: Bench) -> None:
        with pytest.raises(InvalidSetting):
            await it.submit(**more)

    bench(story)


def test_a_run_is_unknown_to_another_project(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        for project, wanted in (("other", run_id), ("default", new_run_id()), ("default", "x")):
            with pytest.raises(NotFound):
                await it.runs.get(project, wanted)

    bench(story)


def test_who_waits_is_answered_when_the_server_stops(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        waiting = asyncio.ensure_future(it.runs.wait("default", run_id, 60))
        await it.pool.holds(1)
        it.runs.stop_waiting()
        assert (await asyncio.wait_for(waiting, 5)).state in {RunState.QUEUED, RunState.RUNNING}

    bench(story)


def test_old_finished_runs_are_forgotten(bench: Any) -> None:
    async def story(it: Bench) -> None:
        run_id = await it.submit()
        it.pool.answer((await it.pool.holds(1))[0])
        await it.end(run_id)
        assert await it.runs.purge() == 1
        with pytest.raises(NotFound):
            await it.runs.get("default", run_id)

    bench(story, retention=dataclasses.replace(Retention(), finished_s=-1.0))


def test_terminal_states_are_final() -> None:
    assert {s.value for s in TERMINAL_RUN_STATES} == {"succeeded", "failed", "cancelled"}
    assert states_before(RunState.RUNNING) == {RunState.QUEUED}
    assert all(not RUN_MOVES[state] for state in TERMINAL_RUN_STATES)


def test_a_run_that_was_written_although_the_database_denied_it_is_executed(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: Bench) -> None:
        store = it.parts.database.records.runs
        add = type(store).add

        def add_and_lose_the_answer(self: Any, new: Any) -> Any:
            add(self, new)
            monkeypatch.undo()
            raise StoreError("The connection was lost.")

        monkeypatch.setattr(type(store), "add", add_and_lose_the_answer)
        with pytest.raises(StoreError, match="connection was lost"):
            await it.submit(b"[7]", idempotency_key="once")
        (call,) = await it.pool.holds(1)
        it.pool.answer(call)
        again = await it.send(b"[7]", idempotency_key="once")
        assert (await it.end(again.run_id)).state is RunState.SUCCEEDED

    bench(story)


def test_a_run_whose_sender_leaves_before_its_answer_is_executed(bench: Any) -> None:
    async def story(it: Bench) -> None:
        writing, go_on = asyncio.Event(), asyncio.Event()
        write = it.runs._accepts._write

        async def write_late(new: Any) -> Any:
            writing.set()
            await go_on.wait()
            return await write(new)

        it.runs._accepts._write = write_late
        sending = asyncio.create_task(it.submit(b"[7]"))
        await writing.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go_on.set()
        (call,) = await it.pool.holds(1)
        it.pool.answer(call)
        assert (await it.end(call.run_id)).state is RunState.SUCCEEDED
        assert it.runs.open == 0

    bench(story)
