"""A call counts once for the rate of its key, by whatever address it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.control.key_grants import Grant
from penstock.core.records import Scope
from penstock.engine.base import VersionKey

Run = Callable[..., None]

#: One request, and the next one after minutes.
ONE = 0.001

#: Of the second version, which serves, and of the first one, which sleeps.
SERVES = ("/v1/default/flow/predict", "/v2/models/flow/infer", "/predictions/flow")
SLEEPS = (
    "/v1/default/flow/versions/1/predict",
    "/v2/models/flow/versions/1/infer",
    "/predictions/flow/1",
)


async def give_key(site: Any, project: str = "default", **grant: Any) -> str:
    """Make a predict key of one request; return its id."""
    made = await site.house.parts.keys.issue(
        Scope.PREDICT, project, grant=Grant(rate_per_s=ONE, **grant)
    )
    site.keys["once"] = made.text
    return str(made.record.key_id)


def sleeps(site: Any) -> bool:
    return site.house.pools.get(VersionKey("default", "flow", 1)) is None


@pytest.mark.parametrize("path", SERVES + SLEEPS)
def test_a_key_of_one_request_gets_one_good_answer_at_every_address(
    on_site: Run, path: str
) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        assert sleeps(site)
        await give_key(site)
        first = await site.call("POST", path, "once", json=[1])
        assert first.status_code == 200, first.text
        second = await site.call("POST", path, "once", json=[1])
        assert second.status_code == 429, second.text
        assert int(second.headers["retry-after"]) >= 1

    on_site(story)


@pytest.mark.parametrize("path", SERVES + SLEEPS)
def test_a_refused_call_counts_and_wakes_nothing(on_site: Run, path: str) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        await give_key(site, deployments=("another",))
        answers = [await site.call("POST", path, "once", json=[1]) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [403, 429]
        site.keys["wrong"] = "pk_p_nobodys"
        assert (await site.call("POST", path, "wrong", json=[1])).status_code == 401
        assert sleeps(site)

    on_site(story)


def test_a_call_that_can_be_to_no_deployment_counts(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await give_key(site)
        answers = [await site.call("POST", "/predictions/fl%C3%B6w", "once") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [404, 429]

    on_site(story)


@pytest.mark.parametrize("path", SLEEPS)
def test_a_key_that_is_revoked_while_a_version_wakes_gets_no_answer(
    on_site: Run, path: str
) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        key_id = await give_key(site)
        start = site.engine.start

        async def start_late(*args: Any, **more: Any) -> Any:
            await site.house.parts.keys.revoke(key_id)
            return await start(*args, **more)

        site.engine.start = start_late
        assert (await site.call("POST", path, "once", json=[1])).status_code == 401

    on_site(story)
