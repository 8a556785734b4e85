"""Calls go to a worker and come back."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import types
from typing import Any

import pytest

from penstock.codec.body_files import Shelf
from penstock.codec.frames import INLINE_LIMIT
from penstock.core.errors import PenstockError
from penstock.engine.local import channel


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_call_comes_back_with_its_answer(run, loop, start_method):
    async def test(bench):
        pool = await bench.start()
        answers = await asyncio.gather(*(bench.send(pool, b"%d" % i) for i in range(500)))
        assert [bytes(a.body) for a in answers] == [b"%d" % i for i in range(500)]
        assert {(a.code, a.timing) for a in answers} == {("", b"total;dur=1")}
        (status,) = pool.status()
        assert (status.state, status.calls, status.in_flight) == ("ready", 500, 0)
        assert status.facts["loaded"] is True

    run(test, loop=loop, start_method=start_method)


def test_a_caller_with_many_calls_does_not_make_the_others_wait_for_all_of_them(run):
    async def test(bench):
        pool = await bench.start(max_batch=1)
        answered: list[str] = []

        def send(caller: str) -> asyncio.Future[Any]:
            _, answer = bench.call(pool, b"x", caller=caller)
            answer.add_done_callback(lambda _: answered.append(caller))
            return answer

        sent = [send("greedy") for _ in range(200)]
        sent += [send("modest") for _ in range(3)]
        await asyncio.gather(*sent)
        # Some are with the worker already, and the modest three then take turns with the rest.
        assert "modest" in answered[:20]
        assert answered[:40].count("modest") == 3

    run(test)


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 50 * 1000 * 1000])
def test_bodies_of_any_size_go_both_ways(run, size):
    async def test(bench):
        pool = await bench.start()
        body = os.urandom(1) * size
        call, answer = bench.call(pool, body)
        assert (await answer).body == body
        assert call.body.fd == -1

    run(test)


@pytest.mark.parametrize("again", [False, True])
def test_large_and_small_bodies_keep_their_own_answers(run, again):
    async def test(bench):
        bench.shelf = Shelf() if again else None
        pool = await bench.start(replicas=2)
        sizes = [(i * 37 % 11) * 60_000 for i in range(60)]
        bodies = [bytes([i]) * size for i, size in enumerate(sizes)]
        answers = await asyncio.gather(*(bench.send(pool, body) for body in bodies))
        assert all(a.body == body for a, body in zip(answers, bodies, strict=True))

    run(test)


def test_a_file_for_bodies_is_used_again_once_a_worker_has_answered(run):
    async def test(bench):
        bench.shelf = Shelf()
        pool = await bench.start()
        for letter in (b"a", b"b", b"c"):
            call, answer = bench.call(pool, letter * 600_000)
            assert (await answer).body == letter * 600_000
            assert call.body.file is None
        assert bench.shelf.free == 1

    run(test)


def test_a_file_for_bodies_of_a_call_that_is_given_up_is_not_used_again(run):
    async def test(bench):
        bench.shelf = Shelf()
        pool = await bench.start(replicas=0)
        call, _ = bench.call(pool, b"a" * 600_000)
        pool.cancel(call)
        assert call.body.fd == -1
        assert bench.shelf.free == 0

    run(test)


def test_a_worker_keeps_no_descriptor_of_large_bodies(run):
    async def test(bench):
        pool = await bench.start()
        before = (await bench.order(pool, "fds")).body
        for _ in range(20):
            await bench.send(pool, b"z" * 600_000)
        assert (await bench.order(pool, "fds")).body == before

    run(test)


def test_a_service_that_raises_answers_an_internal_error_and_goes_on(run):
    async def test(bench):
        pool = await bench.start()
        answer = await bench.order(pool, "raise")
        assert answer.code == "internal"
        assert json.loads(answer.body)["error"]["code"] == "internal"
        assert (await bench.send(pool, b"next")).body == b"next"
        assert "RuntimeError: the service itself is broken" in pool.logs()

    run(test)


def test_a_worker_reaches_the_memory_store(run):
    async def test(bench):
        pool = await bench.start(replicas=2)
        answers = await asyncio.gather(*(bench.order(pool, "memory") for _ in range(20)))
        assert max(float(bytes(a.body)) for a in answers) == 20
        assert bench.numbers == {"n": 20}

    run(test)


def test_a_full_queue_refuses_with_a_time_to_come_back(run):
    async def test(bench):
        pool = await bench.start(max_queue=4)
        held = [bench.order(pool, "sleep", s=0.05) for _ in range(4)]
        refused = bench.send(pool, b"x")
        assert refused.done()
        assert refused.result().code == "overloaded"
        assert refused.result().error.facts["retry_after_s"] >= 1
        assert [a.code for a in await asyncio.gather(*held)] == [""] * 4
        assert (await bench.send(pool, b"again")).body == b"again"

    run(test)


def test_work_is_spread_over_replicas(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2)
        await tools.until(lambda: [s.state for s in pool.status()] == ["ready", "ready"])
        answers = await asyncio.gather(*(bench.order(pool, "sleep", s=0.02) for _ in range(8)))
        pids = [json.loads(a.body)["pid"] for a in answers]
        assert sorted(pids.count(pid) for pid in set(pids)) == [4, 4]

    run(test)


def test_secrets_of_the_server_do_not_reach_user_code(run, monkeypatch):
    monkeypatch.setenv("PENSTOCK_ADMIN_KEY", "pk_a_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    async def test(bench):
        pool = await bench.start()
        env = json.loads((await bench.order(pool, "env")).body)
        assert "secret" not in json.dumps(env)
        assert env["OMP_NUM_THREADS"] == "1"

    run(test)


def test_replicas_do_not_share_random_numbers(run):
    async def test(bench):
        await bench.engine.warm(("numpy.random",))
        pools = [await bench.start() for _ in range(2)]
        drawn = {(await bench.order(pool, "random")).body for pool in pools}
        assert len(drawn) == 2

    run(test)


def test_stop_answers_what_was_taken_and_refuses_the_rest(run):
    async def test(bench):
        pool = await bench.start()
        held = [bench.order(pool, "sleep", s=0.02) for _ in range(5)]
        stopping = asyncio.ensure_future(pool.stop(5.0))
        await asyncio.sleep(0)
        assert (await bench.send(pool, b"late")).code == "not_ready"
        assert [a.code for a in await asyncio.gather(*held)] == [""] * 5
        await stopping
        assert pool.status() == []

    run(test)


def test_stop_ends_a_worker_that_hangs(run):
    async def test(bench):
        pool = await bench.start()
        hung = bench.order(pool, "hold_gil", timeout_s=60)
        waiting = [bench.send(pool, b"x") for _ in range(300)]
        await pool.stop(0.1)
        assert (await hung).code == "worker_died"
        assert {a.code for a in await asyncio.gather(*waiting)} == {"not_ready"}

    run(test)


def test_a_call_whose_time_is_over_when_it_comes_is_refused(run):
    async def test(bench):
        pool = await bench.start()
        _, answer = bench.call(pool, b"x", timeout_s=-0.1)
        late = await answer
        assert (late.code, late.error.code) == ("deadline_exceeded", "deadline_exceeded")

    run(test)


def test_closing_while_a_version_starts_leaves_nothing(run, tools):
    async def test(bench):
        await bench.start()
        starts = [asyncio.ensure_future(bench.start({"load": "hang"})) for _ in range(3)]
        await asyncio.sleep(0.004)
        await bench.engine.close(0.1)
        results = await asyncio.gather(*starts, return_exceptions=True)
        assert all(isinstance(result, PenstockError) for result in results)
        assert tools.children() == []

    run(test)


def test_a_large_body_that_cannot_be_handed_over_costs_its_own_call_only(run, monkeypatch):
    async def test(bench):
        pool = await bench.start(max_batch=1)
        (before,) = pool.status()
        first = bench.order(pool, "sleep", s=0.2)
        while not pool.status()[0].in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0)
        large = b"x" * (INLINE_LIMIT + 1)
        waiting = [bench.send(pool, b"small") for _ in range(20)]

        def full(_fd):
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(channel, "os", types.SimpleNamespace(dup=full, close=os.close))
            refused = await bench.send(pool, large)  # it waits for room, and then there is none
        assert refused.code == "overloaded"
        assert "Too many open files" in refused.error.message
        assert (await first).code == ""
        assert {(await answer).body for answer in waiting} == {b"small"}
        assert (await bench.send(pool, large)).body == large
        assert pool.status()[0].pid == before.pid

    run(test)
