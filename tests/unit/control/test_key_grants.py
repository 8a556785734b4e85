"""Keys end, act on what they are granted, and remember when they were used."""

from __future__ import annotations

import pytest

from penstock.control.key_grants import Grant
from penstock.control.key_text import digest_of
from penstock.core.errors import Forbidden, InvalidName, InvalidSetting, Unauthorized
from penstock.core.records import Scope


async def issue(parts, scope=Scope.PREDICT, **grant):
    await parts.projects.ensure("shop")
    return await parts.keys.issue(scope, "shop", grant=Grant(**grant))


def test_a_key_stops_working_the_moment_it_expires(with_parts):
    async def story(parts):
        text, record = await issue(parts, expires_in_s=60.0)
        parts.clock.time += 59.9
        assert parts.keys.check(text.encode()) == record
        assert parts.keys.by_id(record.key_id) == record
        parts.clock.time += 0.1
        for attempt in (
            lambda: parts.keys.check(text.encode()),
            lambda: parts.keys.admit(digest_of(text.encode())),
        ):
            with pytest.raises(Unauthorized, match=f"{record.prefix} has expired"):
                attempt()
        assert parts.keys.by_id(record.key_id) is None

    with_parts(story)


def test_an_expired_key_stays_expired_after_a_restart(with_parts):
    kept = {}

    async def before(parts):
        kept["text"], _ = await issue(parts, expires_in_s=60.0)

    async def after(parts):
        parts.keys.check(kept["text"].encode())
        parts.clock.time += 60
        with pytest.raises(Unauthorized):
            parts.keys.check(kept["text"].encode())

    with_parts(before)
    with_parts(after)


def test_a_key_is_granted_deployments_by_name(with_parts):
    async def story(parts):
        _, record = await issue(parts, deployments=("one", "two"))
        [kept] = await parts.keys.list("shop")
        assert kept.deployments == ("one", "two")
        assert record.allows(Scope.PREDICT, "shop", "one")
        assert not record.allows(Scope.PREDICT, "shop", "three")
        assert not record.allows(Scope.PREDICT, "other", "one")
        assert not record.allows(Scope.READ, "shop", "one")

    with_parts(story)


@pytest.mark.parametrize(
    ("grant", "error"),
    [
        ({"deployments": ()}, InvalidSetting),
        ({"deployments": ("a",) * 1001}, InvalidSetting),
        ({"label": "x" * 1001}, InvalidSetting),
        ({"deployments": ("../x",)}, InvalidName),
        ({"expires_in_s": 0.0}, InvalidSetting),
        ({"expires_in_s": float("inf")}, InvalidSetting),
        ({"rate_per_s": -1.0}, InvalidSetting),
        ({"rate_per_s": float("nan")}, InvalidSetting),
    ],
)
def test_a_grant_that_means_nothing_is_refused(with_parts, grant, error):
    async def story(parts):
        with pytest.raises(error):
            await issue(parts, **grant)

    with_parts(story)


def test_the_last_use_is_written_down_now_and_then_not_for_every_request(with_parts):
    async def story(parts):
        text, record = await issue(parts)
        await issue(parts)
        for _ in range(5):
            parts.keys.check(text.encode())
        assert (await parts.keys.list("shop"))[0].last_used_at is None
        parts.clock.time += 5
        assert await parts.keys.note_uses() == 1
        assert await parts.keys.note_uses() == 0
        used = {k.key_id: k.last_used_at for k in await parts.keys.list("shop")}
        assert used[record.key_id] == parts.clock.time
        assert sorted(used.values(), key=str) == [parts.clock.time, None]

    with_parts(story)


def test_a_key_makes_no_key_that_may_do_more(with_parts):
    async def story(parts):
        _, maker = await issue(parts, Scope.DEPLOY, expires_in_s=100.0, rate_per_s=5.0)
        made = parts.keys.no_more_than(maker, Grant())
        assert (made.expires_in_s, made.rate_per_s) == (100.0, 5.0)
        with pytest.raises(Forbidden, match="expires"):
            parts.keys.no_more_than(maker, Grant(expires_in_s=101.0))
        with pytest.raises(Forbidden, match="5 a second"):
            parts.keys.no_more_than(maker, Grant(rate_per_s=6.0))

    with_parts(story)
