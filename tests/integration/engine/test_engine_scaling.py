"""Real processes that sleep, wake, multiply and are replaced for the memory they took."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import time
from pathlib import Path

import pytest

from penstock.core.errors import BlobMissing
from penstock.engine.base import Scale

QUICK = Scale(0, 1, cooldown_s=0.1)


def states_of(pool):
    return [replica.state for replica in pool.status()]


def test_a_version_sleeps_after_its_cooldown_and_a_call_wakes_it(run, tools):
    async def test(bench):
        pool = await bench.start(scale=QUICK)
        for number in range(3):
            body = b"call %d" % number
            assert (await bench.send(pool, body)).body == body
            await tools.until(lambda: tools.children() == [bench.engine.zygote_pid])
            assert pool.status() == []
            assert pool.facts()["why"] == "asleep: no call for 0.1 s"
        assert pool.logs() == ["loading version 1"] * 3

    run(test)


def test_a_version_that_nobody_calls_sleeps_too(run, tools):
    async def test(bench):
        pool = await bench.start(scale=QUICK)
        await tools.until(lambda: tools.children() == [bench.engine.zygote_pid])
        assert pool.facts()["wanted"] == 0

    run(test)


def test_a_version_that_starts_asleep_has_no_process_until_it_is_called(run, tools):
    async def test(bench):
        asked = []

        def find_blobs():
            asked.append(1)
            return {"a": Path("/b")}

        pool = await bench.start(replicas=0, scale=QUICK, find_blobs=find_blobs)
        assert (pool.status(), pool.logs(), asked) == ([], [], [])
        answers = await asyncio.gather(*(bench.send(pool, b"x") for _ in range(20)))
        assert {answer.body for answer in answers} == {b"x"}
        assert (pool.logs(), asked) == (["loading version 1"], [1])

    run(test)


def test_a_call_that_comes_while_the_processes_end_is_answered(run, tools):
    async def test(bench):
        pool = await bench.start(scale=QUICK)
        for _ in range(5):
            await bench.send(pool, b"x")
            await tools.until(lambda: pool.facts()["wanted"] == 0)
            assert (await bench.send(pool, b"y")).body == b"y"

    run(test)


def test_a_call_that_comes_in_the_moment_it_is_put_to_sleep_is_answered(run, tools, caplog):
    class CallThen(logging.Handler):
        """Calls the pool as soon as it has said that it goes to sleep."""

        def emit(self, record):
            if "shall have 0 replicas" in record.getMessage():
                loop.call_soon(lambda: answers.append(asyncio.ensure_future(bench_send())))

    async def test(bench):
        nonlocal loop, bench_send
        loop = asyncio.get_running_loop()
        pool = await bench.start(scale=QUICK)
        bench_send = functools.partial(bench.send, pool, b"y")
        await bench.send(pool, b"x")
        for number in range(1, 4):
            await tools.until(lambda: len(answers) == number)  # noqa: B023 - awaited at once
            assert (await answers[-1]).body == b"y"

    loop, bench_send, answers = None, None, []
    handler = CallThen()
    logger = logging.getLogger("penstock.engine.local.pool")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(handler)
    try:
        run(test)
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BlobMissing("model.pt is gone."), "model.pt is gone."),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ],
)
def test_a_version_whose_files_are_gone_says_so_and_tries_again_at_the_next_call(run, error, says):
    async def test(bench):
        failing = [error, None]

        def find_blobs():
            error = failing.pop(0)
            if error is not None:
                raise error
            return {}

        pool = await bench.start(replicas=0, scale=QUICK, find_blobs=find_blobs)
        assert says in (await bench.send(pool, b"x")).error.message
        assert (await bench.send(pool, b"x")).body == b"x"

    run(test)


def test_a_sleeping_version_that_does_not_load_refuses_with_the_reason(run):
    async def test(bench):
        pool = await bench.start({"load": "fail"}, replicas=0, scale=QUICK)
        answer = await bench.send(pool, b"x")
        assert answer.code == "not_ready"
        assert "The model of stage 2 is bad." in answer.error.message

    run(test)


def test_a_version_that_does_not_load_sleeps_when_nobody_calls_and_tries_again_when_called(
    run, tools
):
    async def test(bench):
        pool = await bench.start({"load": "fail"}, replicas=0, scale=QUICK)
        tries = []
        for _ in range(2):
            assert (await bench.send(pool, b"x")).code == "not_ready"
            await tools.until(lambda: pool.facts()["wanted"] == 0 and not pool.status())
            assert pool.facts()["why"] == "asleep: no call for 0.1 s"
            assert pool.health().next_start_at == 0
            tries.append(len(pool.logs()))
        assert tries[1] > tries[0]

    run(test)


def test_a_version_that_takes_longer_to_load_than_its_cooldown_is_there_in_the_end(
    run, tools, tmp_path
):
    async def test(bench):
        go = tmp_path / "go"
        pool = await bench.start({"load": "wait", "file": str(go)}, replicas=0, scale=QUICK)
        call, _ = bench.call(pool, b"x")
        pool.cancel(call)
        left = time.monotonic()

        def waited():
            assert pool.facts()["wanted"] == 1
            return pool._scaler._auto._last_call_at > left + 3 * QUICK.cooldown_s

        await tools.until(waited)
        go.touch()
        await tools.until(lambda: pool.facts()["wanted"] == 0 and not pool.status())
        assert (pool.logs(), pool.health().deaths) == (["loading version 1"], 0)

    run(test)


def test_a_sleeping_version_can_be_stopped(run):
    async def test(bench):
        pool = await bench.start(replicas=0, scale=QUICK)
        await pool.stop(1.0)
        assert (await bench.send(pool, b"x")).code == "not_ready"

    run(test)


def test_limits_change_while_a_version_runs_and_no_call_fails(run, tools):
    async def test(bench):
        pool = await bench.start(scale=Scale(1, 1))
        calls = [bench.order(pool, "sleep", s=0.005) for _ in range(100)]
        for low in (3, 1, 4, 2):
            pool.scale(Scale(low, low))
            await tools.until(lambda low=low: states_of(pool) == ["ready"] * low)
        answers = await asyncio.gather(*calls)
        assert {answer.code for answer in answers} == {""}
        pool.scale(Scale(0, 2, cooldown_s=0.05))
        await tools.until(lambda: not pool.status())
        pool.scale(Scale(1, 2))
        await tools.until(lambda: states_of(pool) == ["ready"])

    run(test)


def test_calls_that_wait_get_more_replicas_up_to_the_maximum(run, tools):
    async def test(bench):
        pool = await bench.start(scale=Scale(1, 3, cooldown_s=0.3))
        calls: set[asyncio.Future] = set()

        def keep_busy():
            calls.difference_update([c for c in calls if c.done() and c.result().code == ""])
            while len(calls) < 24:
                calls.add(bench.order(pool, "sleep", s=0.02))
            return len(states_of(pool)) == 3 and pool.facts()["why"].startswith("replica 3 helps")

        await tools.until(keep_busy, 20)
        answers = await asyncio.gather(*calls)
        assert {answer.code for answer in answers} == {""}
        await tools.until(lambda: len(pool.status()) == 1)

    run(test)


def test_a_replica_that_leaves_answers_what_it_holds(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2, scale=Scale(2, 2))
        await tools.until(lambda: states_of(pool) == ["ready"] * 2)
        calls = [bench.order(pool, "sleep", s=0.1) for _ in range(4)]
        pool.scale(Scale(1, 1))
        answers = await asyncio.gather(*calls)
        assert {answer.code for answer in answers} == {""}
        await tools.until(lambda: len(pool.status()) == 1)

    run(test)


#: With control groups, where they may be made, and with the server's own watch alone.
GUARDS = pytest.mark.parametrize("guard", ["auto", "watchdog"])


@GUARDS
def test_a_replica_that_leaks_ten_mebibytes_a_call_is_replaced_and_no_call_fails(run, tools, guard):
    async def test(bench):
        pool = await bench.start(memory_limit_bytes=512 << 20)
        first = pool.status()[0].pid
        answers = []
        while pool.facts()["recycled"] < 2:
            answers.append(await bench.order(pool, "leak", mib=10))
            assert len(answers) < 2000
        assert {answer.code for answer in answers} == {""}
        await tools.until(lambda: first not in {r.pid for r in pool.status()})
        assert pool.health().deaths == 0
        print(f"\n{len(answers)} calls that each kept 10 MiB: 2 replacements, none failed")

    run(test, memory_check_s=0.02, memory_guard=guard)


@GUARDS
@pytest.mark.parametrize("mib", [200, 4096])
def test_a_replica_far_over_its_limit_is_killed_and_named(run, mib, guard):
    async def test(bench):
        pool = await bench.start(memory_limit_bytes=64 << 20)
        other = await bench.start(memory_limit_bytes=64 << 20)
        worker = other.status()[0].pid
        leaking = bench.order(pool, "leak_and_sleep", mib=mib, s=10)
        answer = await leaking
        assert answer.code == "worker_died"
        assert "its limit is 64 MiB" in answer.error.message
        assert (await bench.send(pool, b"x")).body == b"x"
        assert other.status()[0].pid == worker

    run(test, memory_check_s=0.02, memory_guard=guard)


@pytest.mark.parametrize("count", [40])
def test_many_sleeping_versions_cost_no_process_and_each_answers_when_called(run, tools, count):
    async def test(bench):
        pools = [await bench.start(replicas=0, scale=QUICK) for _ in range(count)]
        assert tools.children() == []
        for pool in pools:
            assert (await bench.send(pool, b"x")).body == b"x"
        await tools.until(lambda: tools.children() == [bench.engine.zygote_pid])
        answers = await asyncio.gather(*(bench.send(pool, b"y") for pool in pools))
        assert {answer.body for answer in answers} == {b"y"}

    run(test)
