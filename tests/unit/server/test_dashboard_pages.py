"""The page for people: signing in, what is shown, and what a browser may not be made to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.errors import LoadFailed

Run = Callable[..., None]


async def sign_in(site: Any, key: str = "deploy") -> Any:
    return await site.http.post("/sign-in", data={"key": site.keys.get(key, key)})


def test_a_stranger_sees_the_form_and_nothing_else(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy("quiet-one")
        page = await site.http.get("/")
        assert page.status_code == 200
        assert 'action="/sign-in"' in page.text
        assert "quiet-one" not in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "script" not in page.text
        assert "style=" not in page.text

    on_site(story)


def test_signing_in_shows_the_deployments_with_their_endpoint(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.call("POST", "/v1/default/flow/predict", "predict", json=[1])
        answer = await sign_in(site)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert site.keys["deploy"] not in cookie
        page = (await site.http.get("/")).text
        for shown in ("flow", "Serving", "v1", "http://here/v1/default/flow/predict", "curl"):
            assert shown in page
        assert site.keys["deploy"] not in page

    on_site(story)


def test_a_version_that_failed_is_shown_with_its_reason_as_text(on_site: Run) -> None:
    async def story(site: Any) -> None:
        site.engine.fail = LoadFailed("<b>bold</b> is no model.")
        await site.deploy()
        await sign_in(site)
        page = (await site.http.get("/")).text
        assert "Failed" in page
        assert "&lt;b&gt;bold&lt;/b&gt; is no model." in page

    on_site(story)


@pytest.mark.parametrize(("key", "words"), [("nonsense", "unknown"), ("predict", "predict only")])
def test_a_key_that_may_not_read_is_not_let_in(on_site: Run, key: str, words: str) -> None:
    async def story(site: Any) -> None:
        answer = await sign_in(site, key)
        assert answer.status_code == 403
        assert words in answer.text
        assert "set-cookie" not in answer.headers

    on_site(story)


def test_a_session_ends_when_its_key_is_revoked_and_at_sign_out(on_site: Run) -> None:
    async def story(site: Any) -> None:
        made = await site.call("POST", "/v1/default/keys", json={"scope": "read"})
        await sign_in(site, made.json()["key"])
        assert "Sign out" in (await site.http.get("/")).text
        await site.call("DELETE", f"/v1/default/keys/{made.json()['key_id']}")
        assert "Sign out" not in (await site.http.get("/")).text
        await sign_in(site)
        stolen = site.http.cookies["penstock_session"]
        await site.http.post("/sign-out")
        site.http.cookies.set("penstock_session", stolen)
        assert "Sign out" not in (await site.http.get("/")).text

    on_site(story)


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://elsewhere"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_from_another_site_is_refused(on_site: Run, headers: dict[str, str]) -> None:
    async def story(site: Any) -> None:
        answer = await site.http.post(
            "/sign-in", data={"key": site.keys["deploy"]}, headers=headers
        )
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers

    on_site(story)


def test_a_key_of_one_project_does_not_see_another(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.call("POST", "/v1/projects", "admin", json={"name": "lab"})
        made = await site.call("POST", "/v1/lab/keys", "admin", json={"scope": "read"})
        await sign_in(site, made.json()["key"])
        assert "flow/predict" not in (await site.http.get("/")).text
        await sign_in(site, "admin")
        assert "default/flow" in (await site.http.get("/")).text

    on_site(story)
