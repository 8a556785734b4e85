from __future__ import annotations

import asyncio
import math

import pytest

from penstock.codec.memory import (
    Done,
    Increment,
    Lost,
    Missing,
    Publish,
    Read,
    Refused,
    Swap,
    Unchanged,
    Value,
    Write,
)
from penstock.engine.base import VersionKey
from penstock.stores.base import MemoryQuota

KEY = VersionKey("default", "flow", 1)
NEXT = VersionKey("default", "flow", 2)
SIBLING = VersionKey("default", "second", 1)
STRANGER = VersionKey("other", "flow", 1)


def save(name: str, value: bytes | None, scope: str = "deployment", ttl_s=None) -> Publish:
    return Publish([Write(scope, name, value, ttl_s)])


def code_of(answer) -> str:
    assert isinstance(answer, Refused)
    return answer.error["code"]


def test_what_one_version_published_the_next_one_reads(with_parts):
    async def scenario(parts):
        answer = parts.memory.answer
        assert await answer(KEY, Read("deployment", "a")) == Missing()
        done = await answer(KEY, save("a", b"x"))
        assert isinstance(done, Done)
        assert await answer(NEXT, Read("deployment", "a")) == Value(done.stamp, b"x")
        assert await answer(NEXT, Read("deployment", "a", done.stamp)) == Unchanged()
        assert await answer(NEXT, Read("deployment", "a", done.stamp - 1)) == Value(
            done.stamp, b"x"
        )
        await answer(KEY, save("a", None))
        assert await answer(NEXT, Read("deployment", "a", done.stamp)) == Missing()

    with_parts(scenario)


def test_values_survive_a_restart(with_parts):
    async def scenario(parts):
        return await parts.memory.answer(KEY, save("a", b"x"))

    done = with_parts(scenario)

    async def after_restart(parts):
        assert await parts.memory.answer(KEY, Read("deployment", "a", done.stamp)) == Unchanged()

    with_parts(after_restart)


def test_a_scope_reaches_its_own_deployment_or_project_only(with_parts):
    async def scenario(parts):
        answer = parts.memory.answer
        await answer(KEY, save("a", b"flow"))
        await answer(KEY, save("a", b"project", "project"))
        assert (await answer(KEY, Read("deployment", "a"))).value == b"flow"
        assert (await answer(SIBLING, Read("project", "a"))).value == b"project"
        assert await answer(SIBLING, Read("deployment", "a")) == Missing()
        assert await answer(STRANGER, Read("project", "a")) == Missing()
        assert await answer(STRANGER, Read("deployment", "a")) == Missing()
        for scope in ("run", "", "../default"):
            assert code_of(await answer(KEY, Read(scope, "a"))) == "invalid_setting"
            assert code_of(await answer(KEY, save("a", b"x", scope))) == "invalid_setting"

    with_parts(scenario)


def test_one_publish_over_both_scopes_is_all_or_nothing(with_parts):
    async def scenario(parts):
        answer = parts.memory.answer
        good, bad = Write("deployment", "a", b"x"), Write("project", "b", b"x" * 11)
        assert code_of(await answer(KEY, Publish([good, bad]))) == "memory_quota_exceeded"
        assert await answer(KEY, Read("deployment", "a")) == Missing()
        done = await answer(KEY, Publish([good, Write("project", "b", b"y")]))
        assert await answer(KEY, Read("project", "b")) == Value(done.stamp, b"y")
        assert await answer(KEY, Read("deployment", "a")) == Value(done.stamp, b"x")
        assert await answer(KEY, Publish([])) == Done()

    with_parts(scenario, quota=MemoryQuota(value_bytes=10))


def test_a_time_to_live_counts_from_the_write(with_parts):
    async def scenario(parts):
        answer = parts.memory.answer
        await answer(KEY, save("a", b"x", ttl_s=10.0))
        await answer(KEY, Increment("deployment", "n", 1, ttl_s=10.0))
        await answer(KEY, Swap("deployment", "s", 0, b"x", ttl_s=10.0))
        parts.clock.time += 9.5
        assert isinstance(await answer(KEY, Read("deployment", "a")), Value)
        parts.clock.time += 0.5
        for name in ("a", "n", "s"):
            assert await answer(KEY, Read("deployment", name)) == Missing()
        assert await parts.memory.purge() == 3
        for ttl in (0.0, -1.0, math.nan):
            assert code_of(await answer(KEY, save("a", b"x", ttl_s=ttl))) == "invalid_setting"

    with_parts(scenario)


def test_increments_of_many_runs_are_all_counted(with_parts):
    async def scenario(parts):
        calls = [parts.memory.answer(KEY, Increment("deployment", "n", 1)) for _ in range(200)]
        answers = await asyncio.gather(*calls)
        assert sorted(a.number for a in answers) == list(range(1, 201))
        last = await parts.memory.answer(KEY, Read("deployment", "n"))
        assert (last.number, last.value) == (200, None)
        await parts.memory.answer(KEY, save("text", b"x"))
        refused = await parts.memory.answer(KEY, Increment("deployment", "text", 1))
        assert code_of(refused) == "conflict"

    with_parts(scenario)


def test_of_many_swaps_from_one_stamp_exactly_one_wins(with_parts):
    async def scenario(parts):
        swaps = [Swap("deployment", "a", 0, str(n).encode()) for n in range(20)]
        answers = await asyncio.gather(*[parts.memory.answer(KEY, swap) for swap in swaps])
        assert [type(a) for a in answers].count(Lost) == 19
        won = next(n for n, a in enumerate(answers) if isinstance(a, Done))
        found = await parts.memory.answer(KEY, Read("deployment", "a"))
        assert found == Value(answers[won].stamp, str(won).encode())

    with_parts(scenario)


def test_a_reader_never_sees_a_value_older_than_an_acknowledged_one(with_parts):
    async def scenario(parts):
        acknowledged = -1

        async def write() -> None:
            nonlocal acknowledged
            for number in range(300):
                await parts.memory.answer(KEY, save("a", str(number).encode()))
                acknowledged = number

        async def read(writer: asyncio.Task) -> int:
            seen = -1
            while not writer.done():
                floor = acknowledged
                found = await parts.memory.answer(NEXT, Read("deployment", "a"))
                if isinstance(found, Value):
                    assert int(found.value) >= max(floor, seen)
                    seen = int(found.value)
                await asyncio.sleep(0)
            return seen

        writer = asyncio.ensure_future(write())
        await asyncio.gather(*[read(writer) for _ in range(4)])
        await writer

    with_parts(scenario)


def test_forget_takes_the_deployments_memory_and_leaves_the_projects(with_parts):
    async def scenario(parts):
        answer = parts.memory.answer
        await answer(KEY, Publish([Write("deployment", "a", b"x"), Write("project", "a", b"y")]))
        await parts.memory.forget("default", "flow")
        assert await answer(KEY, Read("deployment", "a")) == Missing()
        assert (await answer(KEY, Read("project", "a"))).value == b"y"

    with_parts(scenario)


def test_a_closed_store_is_an_answer_and_not_an_exception(with_parts):
    async def scenario(parts):
        await parts.database.close()
        assert code_of(await parts.memory.answer(KEY, save("a", b"x"))) == "store_failed"

    with_parts(scenario)


def test_a_defect_is_logged_and_answered_without_details(with_parts, caplog):
    async def scenario(parts):
        refused = await parts.memory.answer(KEY, Swap("deployment", "\ud800", 0, b"x"))
        assert code_of(refused) == "internal"

    with_parts(scenario)
    assert "A memory request of default/flow version 1 failed." in caplog.text


@pytest.mark.parametrize("by", [2**63, -(2**63) - 1, math.inf])
def test_a_number_that_does_not_fit_is_refused(with_parts, by):
    async def scenario(parts):
        refused = await parts.memory.answer(KEY, Increment("deployment", "n", by))
        assert code_of(refused) == "conflict"

    with_parts(scenario)
