"""Versions that do not load: the caller is told why, and nothing is left running."""

from __future__ import annotations

import asyncio
import threading

import pytest

from penstock.core.errors import LoadFailed


@pytest.mark.parametrize(
    ("how", "says", "facts"),
    [
        ("fail", "The model of stage 2 is bad.", {"cause": "load_failed"}),
        ("raise", "ValueError: no such model", {"cause": "load_failed"}),
        ("exit", "SystemExit: gone while importing", {}),
        ("segfault", "SIGSEGV", {"signal": "SIGSEGV"}),
    ],
)
def test_a_failed_load_says_why_with_the_last_lines(run, tools, how, says, facts):
    async def test(bench):
        with pytest.raises(LoadFailed) as caught:
            await bench.start({"load": how})
        assert says in caught.value.message
        assert facts.items() <= caught.value.facts.items()
        assert caught.value.facts["logs"][0] == "loading version 1"
        assert tools.children() == [bench.engine.zygote_pid]

    run(test)


def test_a_failed_load_names_stage_and_hint(run):
    async def test(bench):
        with pytest.raises(LoadFailed) as caught:
            await bench.start({"load": "fail"})
        assert (caught.value.stage, caught.value.hint) == (2, "Make it again.")

    run(test)


def test_a_load_that_takes_too_long_is_given_up(run):
    async def test(bench):
        with pytest.raises(LoadFailed, match=r"longer than 0\.2 s"):
            await bench.start({"load": "hang"})

    run(test, load_timeout_s=0.2)


def test_a_start_that_is_cancelled_leaves_nothing(run, tools):
    async def test(bench):
        await bench.start()
        for wait_s in (0.0, 0.001, 0.003, 0.02):
            start = asyncio.ensure_future(bench.start({"load": "hang"}))
            await asyncio.sleep(wait_s)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
        await tools.until(lambda: len(tools.children()) == 3)  # zygote, template, worker

    run(test)


def test_a_version_that_stops_loading_answers_not_ready_with_the_reason(run, tmp_path):
    async def test(bench):
        pool = await bench.start({"load": "once", "file": str(tmp_path / "mark")})
        assert (await bench.order(pool, "exit", code=3)).code == "worker_died"
        answer = await bench.send(pool, b"x")
        assert answer.code == "not_ready"
        assert "FileExistsError" in answer.error.message
        assert answer.error.facts["retry_after_s"] >= 1
        assert any("loading version" in line for line in answer.error.facts["logs"])

    run(test, templates=False)


def test_lines_are_handed_over_while_a_version_loads(run):
    async def test(bench):
        lines = []
        bench.on_line = lines.append
        await bench.start()
        assert lines == ["loading version 1"]

    run(test)


def test_workers_are_spawned_when_the_zygote_may_not_fork(run, tmp_path, monkeypatch):
    module = tmp_path / "starts_a_thread.py"
    module.write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def test(bench):
        await bench.engine.warm(("json", "starts_a_thread", "decimal"))
        pool = await bench.start()
        assert (await bench.send(pool, b"x")).body == b"x"

    before = threading.active_count()
    run(test)
    assert threading.active_count() <= before + 1


def test_a_module_that_cannot_be_imported_does_not_stop_the_others(run, tmp_path, monkeypatch):
    (tmp_path / "ends_the_process.py").write_text("import sys; sys.exit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def test(bench):
        await bench.engine.warm(("no_such_module", "ends_the_process", "json"))
        pool = await bench.start()
        assert (await bench.send(pool, b"x")).body == b"x"

    run(test)


def test_a_version_that_keeps_dying_can_be_stopped_and_stays_stopped(run, tmp_path):
    async def test(bench):
        pool = await bench.start({"load": "once", "file": str(tmp_path / "mark")})
        await bench.order(pool, "exit", code=3)
        await pool.stop(0.1)
        assert (await bench.send(pool, b"x")).code == "not_ready"
        assert pool.status() == []

    run(test, templates=False)
