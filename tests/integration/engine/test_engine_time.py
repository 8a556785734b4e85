"""Time limits: callers get their 504 on time, whatever hangs, and hung workers are replaced."""

from __future__ import annotations

import asyncio
import time

import pytest


@pytest.mark.parametrize("hang", ["spin", "hold_gil", "backtrack"])
def test_a_hung_worker_answers_504_in_time_and_is_replaced(run, tools, hang):
    async def test(bench):
        pool = await bench.start()
        begun = time.monotonic()
        pid = pool.status()[0].pid
        late = await bench.order(pool, hang, timeout_s=0.3)
        took = time.monotonic() - begun
        assert late.code == "deadline_exceeded"
        assert took >= 0.25
        assert (await bench.send(pool, b"next")).body == b"next"
        assert time.monotonic() - begun < 60  # not the minutes it would hang
        assert not tools.alive(pid)

    run(test)


def test_a_call_that_is_only_a_little_late_does_not_cost_the_worker(run):
    async def test(bench):
        pool = await bench.start()
        pid = pool.status()[0].pid
        late = await bench.order(pool, "sleep", s=0.3, timeout_s=0.1)
        assert late.code == "deadline_exceeded"
        assert (await bench.send(pool, b"next")).body == b"next"
        assert pool.status()[0].pid == pid

    run(test)


def test_calls_that_wait_too_long_are_answered_and_never_begun(run):
    async def test(bench):
        pool = await bench.start(max_batch=4)
        first = bench.order(pool, "sleep", s=0.3)
        waiting = [bench.order(pool, "memory", timeout_s=0.1) for _ in range(20)]
        answers = await asyncio.gather(*waiting)
        assert {a.code for a in answers} == {"deadline_exceeded"}
        assert all("waited" in a.error.message for a in answers)
        assert (await first).code == ""
        assert (await bench.send(pool, b"next")).body == b"next"
        assert bench.numbers == {}

    run(test)


def test_a_cancelled_call_is_not_begun_and_not_answered(run):
    async def test(bench):
        pool = await bench.start(max_batch=4)
        first = bench.order(pool, "sleep", s=0.2)
        waiting = [bench.call(pool, b'{"do":"memory"}', b"order") for _ in range(20)]
        await asyncio.sleep(0.02)
        for call, _ in waiting:
            pool.cancel(call)
        await first
        assert (await bench.send(pool, b"next")).body == b"next"
        assert bench.numbers == {}
        assert not any(answer.done() for _, answer in waiting)
        assert pool.status()[0].in_flight == 0

    run(test)


def test_a_hung_replica_gets_no_more_calls_while_another_is_free(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2)
        await tools.until(lambda: [s.state for s in pool.status()] == ["ready", "ready"])
        hung = bench.order(pool, "hold_gil", timeout_s=0.1)
        assert (await hung).code == "deadline_exceeded"
        answers = await asyncio.gather(*(bench.send(pool, b"x") for _ in range(20)))
        # One that was given to the hung replica would wait for its grace and exceed its deadline.
        assert {a.code for a in answers} == {""}

    run(test, overdue_grace_s=60.0)
