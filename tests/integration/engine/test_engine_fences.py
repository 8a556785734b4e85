"""Control groups hold workers to their memory: the kernel ends one that takes too much, at once.

They need a control group that may be written; without one the reason is printed with the skip.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.core.errors import LoadFailed
from penstock.engine.sandbox.cgroups import PREFIX

#: Asked in a process of its own: with version 2 whoever asks moves into another group.
ASK = (
    "from penstock.engine.sandbox import cgroups; found, why = cgroups.find();"
    "import json; print(json.dumps([why, found and [found.version, str(found.folders['memory'])]]))"
)
WHY_NOT, FOUND = json.loads(
    subprocess.run([sys.executable, "-c", ASK], capture_output=True, check=True, text=True).stdout
)

pytestmark = pytest.mark.skipif(FOUND is None, reason=WHY_NOT or "-")

#: The server looks at memory so rarely that only the kernel can have ended a worker.
OPTIONS = {"memory_guard": "auto", "memory_check_s": 3600.0}

LIMIT = 64 << 20


def groups() -> list[Path]:
    return sorted(Path(FOUND[1]).glob(f"{PREFIX}{os.getpid()}-*"))


def inside(group: Path) -> set[int]:
    try:
        return {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    except OSError:
        return set()


def members() -> list[list[str]]:
    return [(group / "cgroup.procs").read_text().split() for group in groups()]


def test_the_kernel_ends_a_worker_that_takes_too_much_and_no_other(run, tools):
    async def test(bench):
        state = bench.engine.sandbox
        assert state is None or state.memory.startswith("cgroup")
        pool = await bench.start(memory_limit_bytes=LIMIT)
        other = await bench.start(memory_limit_bytes=LIMIT)
        # Two templates and two workers, each in a group of its own.
        await tools.until(lambda: [len(inside(g)) for g in groups()] == [1] * 4)
        assert {p.status()[0].pid for p in (pool, other)} < set().union(*map(inside, groups()))
        answer = await bench.order(pool, "leak_and_sleep", mib=4096, s=5)
        assert answer.code == "worker_died"
        assert "took more memory than the kernel gives it" in answer.error.message
        assert "64 MiB" in answer.error.message
        assert (await bench.send(other, b"x")).body == b"x"
        assert (await bench.send(pool, b"again")).body == b"again"

    run(test, **OPTIONS)
    assert groups() == []


def test_what_a_worker_starts_counts_with_it_and_ends_with_it(run, tools):
    async def test(bench):
        pool = await bench.start(memory_limit_bytes=LIMIT)
        pid = pool.status()[0].pid
        await tools.until(lambda: any(inside(g) == {pid} for g in groups()))
        await bench.order(pool, "children")
        [group] = [g for g in groups() if pid in inside(g)]
        assert len(inside(group)) >= 3
        held = (group / ("memory.max" if FOUND[0] == 2 else "memory.limit_in_bytes")).read_text()
        assert int(held) == LIMIT * 3 // 2

    run(test, **OPTIONS)
    assert groups() == []


def test_spawned_workers_are_held_too_and_versions_without_a_limit_are_not(run, tools):
    async def test(bench):
        pool = await bench.start(memory_limit_bytes=LIMIT)
        await bench.start()
        await tools.until(lambda: len(groups()) == 1)
        answer = await bench.order(pool, "leak_and_sleep", mib=300, s=5)
        assert answer.code == "worker_died"

    run(test, start_method="spawn", **OPTIONS)
    assert groups() == []


def test_a_version_that_needs_more_than_it_may_have_is_told_of_its_limit(run):
    async def test(bench):
        with pytest.raises(LoadFailed, match="more memory than the kernel gives it") as caught:
            await bench.start({"load": "large", "mib": 300}, memory_limit_bytes=LIMIT)
        assert "64 MiB" in caught.value.message
        assert "larger memory=" in str(caught.value.hint)

    run(test, **OPTIONS)
    assert groups() == []


def test_groups_that_a_killed_server_left_are_cleared_away() -> None:
    left = Path(FOUND[1]) / f"{PREFIX}4194300-7"
    left.mkdir()
    asyncio.run(asyncio.sleep(0))
    subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True)
    assert not left.exists()
