"""A crash costs only the calls inside that worker; the next call is answered at once."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import select
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.codec.frames import reply_header
from penstock.codec.worker_messages import Notice, pack_message
from penstock.core.errors import LoadFailed


def sockets_of(pid):
    fds = Path(f"/proc/{pid}/fd").iterdir()
    return sorted(int(fd.name) for fd in fds if "socket" in str(fd.readlink()))


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def pid_of(bench, pool):
    return json.loads((await bench.order(pool, "pid")).body)["pid"]


def test_killing_a_worker_fails_only_the_call_inside_it(run, tools):
    async def test(bench):
        pool = await bench.start()
        pid = await pid_of(bench, pool)
        inside = bench.order(pool, "sleep", s=30)
        others = [bench.send(pool, b"%d" % i) for i in range(15)]
        await tools.until(lambda: pool.status()[0].in_flight == 16)
        await asyncio.sleep(0.05)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        died = await inside
        assert died.code == "worker_died"
        assert "SIGKILL" in died.error.message
        assert died.error.facts["signal"] == "SIGKILL"
        assert died.error.facts["retryable"] is True
        answers = await asyncio.gather(*others)
        assert [bytes(a.body) for a in answers] == [b"%d" % i for i in range(15)]
        assert (await bench.send(pool, b"next")).body == b"next"
        assert time.monotonic() - killed < 20  # not the 30 s that the call takes

    run(test)


async def with_its_end(call):
    return await call, time.monotonic()


def spread(seconds):
    return (
        f"{1e3 * statistics.median(seconds):.1f} ms (median), {1e3 * max(seconds):.0f} ms at most"
    )


def kill_again_and_again(run, tools, kills):
    """Kill the worker under 16 calls, so often; nothing but the call inside is lost."""

    def fds():
        return len(os.listdir("/proc/self/fd"))

    def resident_kib():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

    async def test(bench):
        pool = await bench.start({"together": 1})
        victims, again = [], []
        for kill in range(kills):
            pid = await pid_of(bench, pool)
            calls = [bench.order(pool, "sleep", s=0.0011) for _ in range(16)]
            await asyncio.sleep(0.002)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            answers = await asyncio.gather(*map(with_its_end, calls))
            died = [(a, end) for a, end in answers if a.code == "worker_died"]
            assert len(died) <= 1
            assert {a.code for a, _ in answers} <= {"", "worker_died"}, [
                a.error for a, _ in answers
            ]
            assert all(a.error.facts["retryable"] is True for a, _ in died)
            victims += [end - killed for _, end in died]
            assert (await bench.send(pool, b"next")).body == b"next"
            again.append(time.monotonic() - killed)
            if kill == 50:
                await tools.until(lambda: len(pool.status()) == 1)
                before = fds(), resident_kib()
        await tools.until(lambda: len(pool.status()) == 1 and fds() <= before[0])
        assert resident_kib() - before[1] < 2048
        print(
            f"\n{kills} kills, {len(victims)} inside a call, told after {spread(victims)}; "
            f"the next call is answered after {spread(again)}"
        )

    run(test, limit_s=600.0)


def test_descriptors_and_memory_stay_flat_over_200_kills(run, tools):
    kill_again_and_again(run, tools, 200)


@pytest.mark.soak
def test_descriptors_and_memory_stay_flat_over_1000_kills(run, tools):
    kill_again_and_again(run, tools, 1000)


def test_a_worker_that_dies_as_it_becomes_ready_gets_no_call(run, tools, tmp_path):
    """What it said last and its end are heard at once, where the server was busy meanwhile."""

    async def busy_while_one_gets_ready_and_dies(doomed):
        await tools.until(doomed.exists)
        watch = os.pidfd_open(int(doomed.read_text()))
        doomed.with_suffix(".go").touch()
        assert select.select([watch], [], [], 60.0)[0]
        os.close(watch)

    async def test(bench):
        doomed = tmp_path / "again"
        pool = await bench.start({"die_when_ready": str(doomed)})
        doomed.with_suffix(".armed").touch()
        os.kill(await pid_of(bench, pool), signal.SIGKILL)
        waiting = bench.send(pool, b"x")
        await busy_while_one_gets_ready_and_dies(doomed)
        assert (await waiting).body == b"x"
        answers = await asyncio.gather(*(bench.send(pool, b"y") for _ in range(50)))
        assert {a.body for a in answers} == {b"y"}
        doomed = tmp_path / "first"
        doomed.with_suffix(".armed").touch()
        starting = asyncio.create_task(bench.start({"die_when_ready": str(doomed)}))
        await busy_while_one_gets_ready_and_dies(doomed)
        with pytest.raises(LoadFailed, match="exit code 9"):
            await starting

    run(test)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ({"do": "segfault"}, {"signal": "SIGSEGV"}),
        ({"do": "exit", "code": 7}, {"exit_code": 7}),
    ],
)
def test_a_worker_that_ends_itself_is_named_and_replaced(run, order, names):
    async def test(bench):
        pool = await bench.start()
        died = await bench.order(pool, **order)
        assert died.code == "worker_died"
        assert names.items() <= died.error.facts.items()
        assert died.error.hint
        if "signal" in names:
            assert (died.error.stage, died.error.function) == (2, "post")
        assert (await bench.send(pool, b"next")).body == b"next"

    run(test)


def test_a_segfault_leaves_its_python_stack_in_the_logs(run):
    async def test(bench):
        pool = await bench.start()
        await bench.order(pool, "segfault")
        await bench.send(pool, b"next")
        assert any("Segmentation fault" in line for line in pool.logs())

    run(test)


def test_killing_the_zygote_harms_no_worker(run, tools):
    async def test(bench):
        pool = await bench.start()
        pid = await pid_of(bench, pool)
        for _ in range(3):
            zygote = bench.engine.zygote_pid
            sleeping = bench.order(pool, "sleep", s=0.05)
            os.kill(zygote, signal.SIGKILL)
            assert (await sleeping).code == ""
            await tools.until(lambda old=zygote: bench.engine.zygote_pid not in (0, old))
        assert await pid_of(bench, pool) == pid
        other = await bench.start()
        assert (await bench.send(other, b"x")).body == b"x"

    run(test)


def test_killing_zygote_template_and_worker_together_still_heals(run):
    async def test(bench):
        pool = await bench.start()
        for _ in range(5):
            pid = await pid_of(bench, pool)
            for other in (bench.engine.zygote_pid, pool.facts()["template"]["pid"]):
                if other:  # 0 would be this process's whole group
                    os.kill(other, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            assert (await bench.send(pool, b"x")).body == b"x"

    run(test)


@pytest.mark.parametrize(
    "garbage",
    [
        "ff" * 64,
        "10000000" + "ee" * 16,
        "1c000000" + "02" + "00" * 27,
        reply_header(2, 0, 200, b"", b"", 2).hex() + b"[]".hex(),
        reply_header(2, 0, 0, b"", b"a\r\nset-cookie: x=1", 2).hex() + b"[]".hex(),
        pack_message(Notice(b'{"a": [%s1]}' % (b"[]," * 20_000))).hex(),
        pack_message(Notice(b"[1]")).hex(),
        reply_header(10**9, 0, 0, b"", b"", 2).hex() + b"[]".hex(),
    ],
    ids=["noise", "size", "frame", "media", "header", "heavy facts", "no facts", "no such call"],
)
def test_garbage_from_a_worker_costs_only_that_worker(run, garbage):
    async def test(bench):
        pool = await bench.start()
        pid = await pid_of(bench, pool)
        sockets = sockets_of(pid)
        answers = []
        for fd in sockets:
            answers.append(await bench.order(pool, "garbage", fd=fd, hex=garbage, timeout_s=3))
        assert {a.code for a in answers} <= {"", "worker_died"}
        assert "worker_died" in {a.code for a in answers}
        assert (await bench.send(pool, b"next")).body == b"next"

    run(test)


def test_a_worker_cannot_answer_the_calls_of_another(run, tools):
    async def test(bench):
        pool = await bench.start(replicas=2)
        await tools.until(lambda: [s.state for s in pool.status()] == ["ready", "ready"])
        theirs = bench.order(pool, "sleep", s=1.0)  # the next call goes to the other worker
        forged = b"".join(reply_header(n, 0, 0, b"", b"", 6) + b"forged" for n in range(1, 100))
        before = {s.pid for s in pool.status()}
        data = sockets_of(min(before))[0]
        answer = await bench.order(pool, "garbage", fd=data, hex=forged.hex(), timeout_s=5)
        assert answer.code == "worker_died" or bytes(answer.body) == b"forged"  # its own call
        kept = await theirs
        assert (kept.code, b"forged" in bytes(kept.body)) == ("", False)
        await tools.until(lambda: [s.state for s in pool.status()] == ["ready", "ready"])
        assert len(before & {s.pid for s in pool.status()}) == 1  # the forger was ended
        assert (await bench.send(pool, b"next")).body == b"next"

    run(test)


def test_an_error_that_is_too_much_to_read_is_told_in_short(run):
    async def test(bench):
        pool = await bench.start()
        for lists, told in ((1000, False), (30_000, True), (2_000_000, True)):
            sent = b'{"error": {"code": "x", "facts": [%s1]}}' % (b"[]," * lists)
            answer = await bench.call(pool, sent, b"error")[1]
            assert answer.code == "function_failed"
            assert (b"too great length" in bytes(answer.body)) is told
            assert (bytes(answer.body) == sent) is not told

    run(test)


def test_processes_that_user_code_left_end_with_their_worker(run, tools):
    async def test(bench):
        pool = await bench.start()
        pid = await pid_of(bench, pool)
        await bench.order(pool, "children")
        await asyncio.sleep(0.05)
        own = children_of(pid)
        assert len(own) >= 2
        os.kill(pid, signal.SIGKILL)
        await bench.send(pool, b"next")
        await tools.until(lambda: not any(tools.alive(int(child)) for child in own))
        bench.engine.sweep()
        await tools.until(lambda: len(tools.children()) == 3)  # zygote, template, worker

    run(test)


SERVER = """
import asyncio, json, os, sys
from pathlib import Path
from penstock.engine.base import VersionKey, VersionSpec
from penstock.engine.local.local_engine import LocalEngine
from penstock.engine.local.options import EngineOptions

async def main():
    child, folder, method = sys.argv[1:]
    options = EngineOptions(
        start_method=method,
        zygote_command=(sys.executable, child, "zygote"),
        worker_command=(sys.executable, child, "worker"),
    )
    engine = LocalEngine(None, Path(folder), options)
    pool = await engine.start(VersionSpec(VersionKey("p", "d", 1), b"{}", {}, replicas=3))
    while [s.state for s in pool.status()] != ["ready"] * 3:
        await asyncio.sleep(0.01)
    print(json.dumps([engine.zygote_pid, *(s.pid for s in pool.status())]), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_killing_the_server_takes_every_process_with_it(tmp_path, tools, start_method):
    command = [sys.executable, "-c", SERVER, tools.child, str(tmp_path / "s"), start_method]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pids = [pid for pid in json.loads(server.stdout.readline()) if pid]
        assert all(tools.alive(pid) for pid in pids)
        server.kill()
        server.wait()
    asyncio.run(tools.until(lambda: not any(tools.alive(pid) for pid in pids), 1.0))
