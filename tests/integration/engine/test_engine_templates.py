"""Templates: a version is loaded once, and its workers are forked from there."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from penstock.core.errors import LoadFailed


def template_of(pool):
    return pool.facts()["template"]


async def workers_of(pool, tools, count):
    await tools.until(lambda: [r.state for r in pool.status()] == ["ready"] * count)
    return pool.status()


def test_replicas_are_forked_from_one_process_that_loaded_the_version(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=3)
        replicas = await workers_of(pool, tools, 3)
        template = template_of(pool)
        assert {r.facts["prepared_by"] for r in replicas} == {template["pid"]}
        assert template["pid"] not in {r.pid for r in replicas}
        assert pool.logs() == ["loading version 1"]

    run(test)


def test_a_dead_replica_is_replaced_from_the_template_without_loading_again(run, tools):
    async def test(bench):
        pool = await bench.start()
        os.kill(pool.status()[0].pid, signal.SIGKILL)
        assert (await bench.send(pool, b"x")).body == b"x"
        assert pool.logs() == ["loading version 1"]
        assert pool.status()[-1].facts["prepared_by"] == template_of(pool)["pid"]

    run(test)


def test_killing_the_template_harms_no_worker_and_the_next_one_gets_a_new_one(run, tools):
    async def test(bench):
        pool = await bench.start()
        old = template_of(pool)["pid"]
        os.kill(old, signal.SIGKILL)
        await tools.until(lambda: template_of(pool)["pid"] != old)
        assert (await bench.send(pool, b"x")).body == b"x"
        os.kill(pool.status()[0].pid, signal.SIGKILL)
        assert (await bench.send(pool, b"y")).body == b"y"
        assert template_of(pool)["pid"] not in (0, old)
        assert pool.logs() == ["loading version 1"] * 2

    run(test)


def test_a_version_that_starts_threads_gets_no_template_and_is_not_loaded_twice(run, tools):
    async def test(bench):
        pool = await bench.start({"load": "thread"})
        assert pool.logs() == ["loading version 1"]
        assert template_of(pool)["why_not"] == "loading it starts threads (1)"
        assert pool.status()[0].facts["prepared_by"] == pool.status()[0].pid
        assert len(tools.children()) == 2
        os.kill(pool.status()[0].pid, signal.SIGKILL)
        assert (await bench.send(pool, b"x")).body == b"x"
        assert pool.status()[-1].facts["prepared_by"] == pool.status()[-1].pid

    run(test)


@pytest.mark.parametrize(
    ("how", "why"),
    [("connect", "loading it opens a connection"), ("child", "loading it starts a process")],
)
def test_what_does_not_survive_a_fork_is_seen(run, how, why):
    async def test(bench):
        pool = await bench.start({"load": how}, replicas=2)
        assert template_of(pool)["why_not"] == why
        answers = [await bench.send(pool, b"x") for _ in range(4)]
        assert {answer.body for answer in answers} == {b"x"}

    run(test)


def test_a_template_ends_with_its_version(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2)
        pid = template_of(pool)["pid"]
        await pool.stop(1.0)
        assert not tools.alive(pid)
        assert tools.children() == [bench.engine.zygote_pid]

    run(test)


def test_a_template_that_dies_loading_fails_the_start_once(run, tools):
    async def test(bench):
        with pytest.raises(LoadFailed) as caught:
            await bench.start({"load": "segfault"}, replicas=2)
        assert caught.value.facts["signal"] == "SIGSEGV"
        assert caught.value.facts["logs"].count("loading version 1") == 1
        assert tools.children() == [bench.engine.zygote_pid]

    run(test)


@pytest.mark.parametrize("library", ["random", "numpy", "torch"])
def test_workers_of_one_template_draw_different_random_numbers(run, tools, library):
    async def test(bench):
        await bench.engine.warm((library,))
        pool = await bench.start({"load": "seed", "library": library}, replicas=3)
        await workers_of(pool, tools, 3)
        drawn = set()
        for _ in range(3):
            drawn.add((await bench.order(pool, "draw", library=library)).body)
            await bench.order(pool, "exit", code=1)
            await workers_of(pool, tools, 3)
        assert len(drawn) == 3

    before = threading.active_count()
    run(test)
    assert threading.active_count() <= before + 1


def test_without_templates_workers_load_the_version_themselves(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2)
        replicas = await workers_of(pool, tools, 2)
        assert [r.facts["prepared_by"] for r in replicas] == [r.pid for r in replicas]

    run(test, templates=False)
