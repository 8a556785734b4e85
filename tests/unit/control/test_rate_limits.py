"""A key makes as many requests as it may, and no more."""

from __future__ import annotations

import pytest

from penstock.control.key_grants import Grant
from penstock.control.rate_limits import RateLimits
from penstock.core.errors import RateLimited
from penstock.core.records import KeyRecord, Scope


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def key(key_id: str = "a", rate: float | None = None) -> KeyRecord:
    return KeyRecord(key_id, b"", "pk_p_1", Scope.PREDICT, "p", "", 0.0, rate_per_s=rate)


def taken(limits: RateLimits, record: KeyRecord, tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            limits.take(record)
        except RateLimited:
            continue
        done += 1
    return done


def test_a_burst_is_followed_by_the_rate() -> None:
    clock = Clock()
    limits = RateLimits(10.0, 5, clock)
    assert taken(limits, key(), 100) == 5
    clock.time = 1.0
    assert taken(limits, key(), 100) == 5
    for step in range(100):
        clock.time = 2.0 + step / 10
        assert taken(limits, key(), 1) == 1


def test_a_refusal_says_when_to_come_again_and_then_it_works() -> None:
    clock = Clock()
    limits = RateLimits(2.0, 1, clock)
    limits.take(key())
    with pytest.raises(RateLimited, match="2 requests a second") as caught:
        limits.take(key())
    assert caught.value.facts["retry_after_s"] == pytest.approx(0.5)
    clock.time = 0.5
    limits.take(key())


def test_keys_do_not_share_a_bucket() -> None:
    limits = RateLimits(1.0, 1, Clock())
    assert taken(limits, key("a"), 3) == taken(limits, key("b"), 3) == 1


def test_a_keys_own_limit_counts_instead_of_the_servers() -> None:
    limits = RateLimits(1.0, 0, Clock())
    assert taken(limits, key("a", 7.0), 100) == 7
    assert taken(limits, key("b"), 100) == 1


def test_without_any_limit_nothing_is_counted() -> None:
    limits = RateLimits()
    assert not limits.is_on
    limits.know(key("a", 1.0))
    assert limits.is_on
    assert taken(limits, key("b"), 1000) == 1000


def test_a_key_is_refused_before_its_request_is_read(with_parts):
    async def story(parts):
        await parts.projects.add("shop")
        text, _ = await parts.keys.issue(Scope.PREDICT, "shop", grant=Grant(rate_per_s=2.0))
        parts.keys.check(text.encode())
        parts.keys.check(text.encode())
        with pytest.raises(RateLimited):
            parts.keys.check(text.encode())

    with_parts(story, limits=RateLimits(clock=Clock()))
