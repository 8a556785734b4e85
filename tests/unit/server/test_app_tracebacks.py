"""Who is shown the traceback of a version that did not load: those who may deploy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from penstock.control.builds import BuildLine, BuildLog
from penstock.core.errors import LoadFailed
from penstock.core.records import Scope
from penstock.dashboard.pages import PAGES
from penstock.server.routes import ENDPOINTS

Run = Callable[..., None]

#: In the traceback, and what a name on the line that failed held.
FRAME, VALUE = "prices_of_the_shop", "price_of_the_lamp"


def broken() -> LoadFailed:
    return LoadFailed(
        "setup of stage 1 raised KeyError.",
        stage=1,
        function="setup",
        traceback=f"Traceback (most recent call last):\n  in {FRAME}\nKeyError: 'lamp'",
        values={"lamp": VALUE},
        place={"line": 7},
    )


async def fail(site: Any) -> None:
    """Deploy a version, then one that does not load; make a read key."""
    await site.deploy()
    site.engine.fail = broken()
    told = (await site.deploy())[-1]["error"]
    assert FRAME in told["traceback"]
    assert told["facts"]["values"] == {"lamp": VALUE}
    made = await site.house.parts.keys.issue(Scope.READ, "default")
    site.keys["read"] = made.text


def paths() -> list[str]:
    """Return every address that a read key may get and that names at most a version."""
    found = [e.path for e in ENDPOINTS if e.method == "GET" and e.scope is Scope.READ]
    names = {"project": "default", "name": "flow", "number": "2"}
    plain = (path.replace(":int", "") for path in found)
    return [p.format(**names) for p in plain if "run_id" not in p and "delivery_id" not in p]


async def seen(site: Any, key: str) -> dict[str, str]:
    """Return what a key gets to see at every address and on every page."""
    answers = {path: await site.call("GET", path, key) for path in paths()}
    site.http.cookies.clear()
    await site.http.post("/sign-in", data={"key": site.keys[key]})
    for method, path, _handler in PAGES:
        if method == "GET" and "_id}" not in path:
            place = f"/p/default{path.replace(':int', '').format(name='flow', number=2)}"
            answers[place] = await site.http.get(place)
    status = {path: answer.status_code for path, answer in answers.items()}
    assert not [path for path, code in status.items() if code not in {200, 303, 404}], status
    return {path: answer.text for path, answer in answers.items()}


def test_a_key_that_may_not_deploy_is_shown_no_traceback_anywhere(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await fail(site)
        found = await seen(site, "read")
        assert not [path for path, text in found.items() if FRAME in text or VALUE in text]
        shown = {path for path, text in found.items() if "setup of stage 1 raised" in text}
        assert {"/v1/default", "/v1/default/flow", "/p/default/d/flow/builds/2"} <= shown

    on_site(story)


def test_a_key_that_may_deploy_is_shown_it_wherever_the_failure_is_told(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await fail(site)
        found = await seen(site, "deploy")
        assert {path for path, text in found.items() if FRAME in text} == {
            "/v1/default",
            "/v1/default/flow",
            "/v1/default/flow/versions",
            "/v1/default/flow/versions/2",
            "/p/default/d/flow/builds",
            "/p/default/d/flow/builds/2",
        }
        version = (await site.call("GET", "/v1/default/flow/versions/2")).json()
        assert version["failure"]["facts"]["values"] == {"lamp": VALUE}
        assert version["failure"]["facts"]["place"] == {"line": 7}
        scaled = await site.call("PATCH", "/v1/default/flow", json={"max_replicas": 2})
        assert FRAME in scaled.text

    on_site(story)


@pytest.mark.parametrize("key", ["read", "deploy"])
def test_a_build_without_a_log_shows_the_failure(on_site: Run, key: str) -> None:
    async def story(site: Any) -> None:
        await fail(site)
        await site.house.parts.deploys._builds.forget("default", "flow")
        text = (await seen(site, key))["/p/default/d/flow/builds/2"]
        assert "setup of stage 1 raised" in text
        assert (FRAME in text) == (key == "deploy")

    on_site(story)


@pytest.mark.parametrize("key", ["read", "deploy"])
def test_a_log_kept_before_its_lines_were_told_apart_is_cut_for_readers(
    on_site: Run, key: str
) -> None:
    async def story(site: Any) -> None:
        await fail(site)
        builds = site.house.parts.deploys._builds
        log = [("step", "Loading."), ("log", "printed"), ("failed", "No."), ("log", FRAME)]
        kept = BuildLog(time.time(), [BuildLine(0.0, *line) for line in log], "failed")
        builds._store.write("default", "flow", 2, msgspec.json.encode(kept))
        text = (await seen(site, key))["/p/default/d/flow/builds/2"]
        assert "printed" in text
        assert (FRAME in text) == (key == "deploy")

    on_site(story)
