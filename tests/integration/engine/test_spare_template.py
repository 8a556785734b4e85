"""A template is forked before it is wanted, and the next version that loads gets it."""

from __future__ import annotations

import os
import signal

from penstock.engine.base import Scale

READY = {"spare_delay_s": 0.0}


def template_of(pool):
    return pool.facts()["template"]["pid"]


def test_the_next_version_is_loaded_by_the_process_that_waits_for_it(run, tools):
    async def test(bench):
        await bench.start()
        await tools.until(lambda: bench.engine.spare_pid)
        waiting = bench.engine.spare_pid
        second = await bench.start()
        assert template_of(second) == waiting
        assert second.logs() == ["loading version 2"]
        assert (await bench.send(second, b"x")).body == b"x"
        await tools.until(lambda: bench.engine.spare_pid not in (0, waiting))

    run(test, **READY)


def test_a_version_that_wakes_gets_it_too(run, tools):
    async def test(bench):
        pool = await bench.start(scale=Scale(0, 1, cooldown_s=0.1))
        await tools.until(lambda: bench.engine.spare_pid and not pool.status())
        waiting = bench.engine.spare_pid
        assert (await bench.send(pool, b"x")).body == b"x"
        assert template_of(pool) == waiting

    run(test, **READY)


def test_one_that_was_killed_is_not_missed(run, tools):
    async def test(bench):
        await bench.start()
        await tools.until(lambda: bench.engine.spare_pid)
        os.kill(bench.engine.spare_pid, signal.SIGKILL)
        await tools.until(lambda: not bench.engine.spare_pid)
        second = await bench.start()
        assert (await bench.send(second, b"x")).body == b"x"
        await tools.until(lambda: bench.engine.spare_pid)

    run(test, **READY)


def test_one_forked_before_a_library_was_imported_is_replaced(run, tools):
    async def test(bench):
        await bench.start()
        await tools.until(lambda: bench.engine.spare_pid)
        old = bench.engine.spare_pid
        second = await bench.start(preload=("colorsys",))
        assert template_of(second) != old
        await tools.until(lambda: not tools.alive(old))
        await tools.until(lambda: bench.engine.spare_pid)

    run(test, **READY)
