"""The pages for people: signing in, what is shown, and what a browser may not be made to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from penstock import model_type, switch
from penstock.client.preflight import prepare
from penstock.codec.bundle import as_plain
from penstock.core.errors import LoadFailed
from penstock.core.flow import Flow
from penstock.dashboard import pages
from penstock.engine.sandbox.state import SandboxState

Run = Callable[..., None]

PAGES = (
    "", "/start", "/runs", "/files", "/webhooks", "/keys", "/secrets", "/settings", "/go",
    "/d/flow", "/d/flow/runs", "/d/flow/versions", "/d/flow/code", "/d/flow/builds",
    "/d/flow/builds/1", "/d/flow/playground", "/d/flow/settings", "/d/flow/monitoring",
    "?range=1h", "?range=24h", "?range=7d&sort=p99",
)  # fmt: skip


async def sign_in(site: Any, key: str = "deploy") -> Any:
    return await site.http.post("/sign-in", data={"key": site.keys.get(key, key)})


async def page(site: Any, path: str = "", project: str = "default") -> str:
    answer = await site.http.get(f"/p/{project}{path}")
    assert answer.status_code == 200, answer.text
    return str(answer.text)


async def send(site: Any, path: str, **fields: str) -> Any:
    """Send a form as the page does, with its word."""
    word = re.search(r'<meta name="csrf" content="(\w+)"', await page(site))
    assert word is not None
    return await site.http.post(f"/p/default{path}", data={"csrf": word[1], **fields})


def test_a_stranger_sees_the_form_and_nothing_else(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy("quiet-one")
        for path in ("/", "/p/default", "/p/default/d/quiet-one", "/p/nowhere"):
            answer = await site.http.get(path)
            assert answer.status_code == 200
            assert 'action="/sign-in"' in answer.text
            assert "quiet-one/predict" not in answer.text
            assert "Serving" not in answer.text
        assert (
            await site.http.get("/p/default/d/quiet-one/series", headers={"HX-Request": "true"})
        ).status_code == 401

    on_site(story)


def test_a_policy_lets_pages_load_nothing_but_the_servers_own_files(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        for path in PAGES:
            answer = await site.http.get(f"/p/default{path}")
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*src=)", answer.text), (
                path
            )
            for address in re.findall(r'(?:src|href)="([^"#?]+)', answer.text):
                assert address.startswith(("/", "http://here")), address

    on_site(story)


def by_size(data: Any) -> str:
    return "many" if len(data) > 1 else "one"


def start() -> dict[str, Any]:
    return {"names": ["a", "b"]}


def doubled(data: Any) -> Any:
    return [2 * value for value in data]


def test_the_code_page_shows_every_function_those_of_branches_too(on_site: Run) -> None:
    stage = (model_type.PYTHON, doubled, {"setup": start})
    flow = [switch(by_size, {"many": stage, "one": (model_type.PYTHON, len)})]
    prepared = prepare(Flow.parse(flow))

    async def story(site: Any) -> None:
        for sha256, content in prepared.blobs.items():
            await site.call("PUT", f"/v1/default/blobs/{sha256}", content=content)
        await site.deploy("branchy", manifest=as_plain(prepared.manifest))
        await sign_in(site)
        listed = await page(site, "/d/branchy/code")
        for name in ("by_size", "start", "doubled", "len"):
            assert f"<code>{name}</code>" in listed, name
        shown = await page(site, "/d/branchy/code?part=s1-many-s1-model")
        assert "model of stage 1 of branch &#39;many&#39; of stage 1" in shown
        assert "doubled(data)" in shown

    on_site(story)


def test_every_file_a_page_loads_is_there_and_may_be_kept(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        wanted = set(re.findall(r'"(/static/[^"]+)"', await page(site, "/d/flow")))
        assert len(wanted) > 8
        for address in wanted:
            answer = await site.http.get(address)
            assert answer.status_code == 200, address
            assert "immutable" in answer.headers["cache-control"]
        assert (await site.http.get("/static/x/../site.py")).status_code == 404

    on_site(story)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_for_a_deployment_and_for_none(on_site: Run, path: str) -> None:
    async def story(site: Any) -> None:
        await sign_in(site)
        empty = await site.http.get(f"/p/default{path}")
        assert empty.status_code == (404 if "/d/flow" in path else 200)
        await site.deploy()
        await site.call("POST", "/v1/default/flow/predict", "predict", json=[1])
        text = await page(site, path)
        assert text.count("<h1") == 1
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert sorted(ids) == sorted(set(ids))  # what is renewed is found by its id

    on_site(story)


def test_the_overview_shows_deployments_with_state_and_version(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        answer = await sign_in(site)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert site.keys["deploy"] not in cookie
        text = await page(site)
        for shown in ("flow", "Serving", "v1", "/p/default/d/flow"):
            assert shown in text
        text = await page(site, "/d/flow")
        for shown in ("http://here/v1/default/flow/predict", "curl", "model.pt", "$PENSTOCK_KEY"):
            assert shown in text
        assert site.keys["deploy"] not in text

    on_site(story)


def test_a_version_that_failed_is_shown_with_its_reason_as_text(on_site: Run) -> None:
    async def story(site: Any) -> None:
        site.engine.fail = LoadFailed("<b>bold</b> is no model.")
        await site.deploy()
        await sign_in(site)
        for path in ("", "/d/flow", "/d/flow/builds/1"):
            text = await page(site, path)
            assert "&lt;b&gt;bold&lt;/b&gt; is no model." in text, path
            assert "<b>bold</b>" not in text
        assert "Loading the version in a worker." in await page(site, "/d/flow/builds/1")

    on_site(story)


def test_what_needs_attention_comes_first(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy("a-good-one")
        site.engine.fail = LoadFailed("no model")
        await site.deploy("z-bad-one")
        await sign_in(site)
        text = await page(site)
        assert text.index('id="row-z-bad-one"') < text.index('id="row-a-good-one"')
        assert "has no ready version" in text

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
        assert "Sign out" in await page(site)
        await site.call("DELETE", f"/v1/default/keys/{made.json()['key_id']}")
        assert "Sign out" not in await page(site)
        await sign_in(site)
        stolen = site.http.cookies["penstock_session"]
        await site.http.post("/sign-out")
        site.http.cookies.set("penstock_session", stolen)
        assert "Sign out" not in await page(site)

    on_site(story)


@pytest.mark.parametrize("changed", ["key", "time", "signature"])
def test_a_cookie_that_was_changed_is_none(on_site: Run, changed: str) -> None:
    async def story(site: Any) -> None:
        await sign_in(site)
        key_id, ends_at, rest, signature = site.http.cookies["penstock_session"].split(".")
        forged = {
            "key": f"{'0' * 16}.{ends_at}.{rest}.{signature}",
            "time": f"{key_id}.{int(ends_at) + 1}.{rest}.{signature}",
            "signature": f"{key_id}.{ends_at}.{rest}.{signature[::-1]}",
        }[changed]
        site.http.cookies.clear()
        answer = await site.http.get("/p/default", headers={"Cookie": f"penstock_session={forged}"})
        assert 'action="/sign-in"' in answer.text

    on_site(story)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://elsewhere"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_from_another_site_is_refused(on_site: Run, headers: dict[str, str]) -> None:
    async def story(site: Any) -> None:
        answer = await site.http.post(
            "/sign-in", data={"key": site.keys["deploy"]}, headers=headers
        )
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers

    on_site(story)


def test_a_form_without_the_sessions_word_changes_nothing(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        for fields in ({"typed": "flow"}, {"typed": "flow", "csrf": "0" * 64}):
            answer = await site.http.post("/p/default/d/flow/delete", data=fields)
            assert answer.status_code == 403
        assert "flow" in await page(site)
        assert (await send(site, "/d/flow/delete", typed="flaw")).status_code == 303
        assert "/p/default/d/flow" in await page(site)
        assert (await send(site, "/d/flow/delete", typed="flow")).status_code == 303
        assert (await site.http.get("/p/default/d/flow")).status_code == 404

    on_site(story)


def test_every_form_needs_the_word_of_its_session_and_comes_from_its_own_page(on_site: Run) -> None:
    names = {"{name}": "flow", "{number:int}": "1", "{run_id}": "a-run", "{file_id}": "file_1",
             "{delivery_id}": "msg_1", "{key_id}": "a-key", "{secret}": "A_SECRET"}  # fmt: skip

    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        word = re.search(r'<meta name="csrf" content="(\w+)"', await page(site))
        assert word is not None
        forms = [path for method, path, _handler in pages.PAGES if method == "POST"]
        assert len(forms) > 10
        for path in forms:
            for name, value in names.items():
                path = path.replace(name, value)
            for given in ({}, {"csrf": "0" * 64}):
                answer = await site.http.post(f"/p/default{path}", data=given)
                assert answer.status_code == 403, path
                assert "out of date" in answer.text, path
            foreign = await site.http.post(
                f"/p/default{path}", data={"csrf": word[1]}, headers={"Origin": "https://evil.test"}
            )
            assert foreign.status_code == 403, path
            assert "another site" in foreign.text, path

    on_site(story)


def test_a_reader_sees_everything_and_changes_nothing(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        made = await site.call("POST", "/v1/default/keys", json={"scope": "read"})
        await sign_in(site, made.json()["key"])
        assert "Roll back" not in await page(site, "/d/flow")
        for path in ("/d/flow/versions/1/activate", "/d/flow/settings", "/keys", "/d/flow/delete"):
            assert (await send(site, path)).status_code == 403, path

    on_site(story)


def test_rolling_back_says_so_and_offers_the_way_back(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        await sign_in(site)
        assert "Roll back to v1" in await page(site, "/d/flow")
        assert (await send(site, "/d/flow/versions/1/activate")).status_code == 303
        text = await page(site, "/d/flow")
        assert "v1 is active. v2 drained, no call failed." in text
        assert 'data-undo="/p/default/d/flow/versions/2/activate"' in text
        assert "v1 is active." not in await page(site, "/d/flow")

    on_site(story)


def test_limits_are_changed_and_a_bad_one_is_refused_with_words(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        good = await send(
            site, "/d/flow/settings", min_replicas="1", max_replicas="3", cooldown_s=""
        )
        assert good.status_code == 303
        found = (await site.call("GET", "/v1/default/flow")).json()["scaling"]
        assert (found["min_replicas"], found["max_replicas"]) == (1, 3)
        for fields in ({"min_replicas": "five"}, {"min_replicas": "9", "max_replicas": "2"}):
            bad = await send(site, "/d/flow/settings", **fields)
            assert bad.status_code == 422
            assert 'aria-invalid="true"' in bad.text

    on_site(story)


def test_a_key_is_made_shown_once_and_revoked(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await sign_in(site)
        made = await send(site, "/keys", label="nightly job", scope="predict")
        text = re.search(r"pk_p_\w{8}_[\w-]+", made.text)
        assert text is not None
        assert text[0] not in await page(site, "/keys")
        assert "nightly job" in await page(site, "/keys")
        listed = (await site.call("GET", "/v1/default/keys")).json()["keys"]
        key_id = next(k["key_id"] for k in listed if k["label"] == "nightly job")
        await send(site, f"/keys/{key_id}/revoke")
        assert "Revoked" in await page(site, "/keys")

    on_site(story)


def test_the_playground_calls_and_shows_the_answer(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await sign_in(site)
        word = re.search(r'name="csrf" content="(\w+)"', await page(site))
        assert word is not None
        headers = {"X-Csrf": word[1], "Content-Type": "application/json"}
        answer = await site.http.post(
            "/p/default/d/flow/playground?version=1", content=b"[[1, 2]]", headers=headers
        )
        assert answer.status_code == 200
        assert "result" in answer.text
        assert "Open run" in answer.text

    on_site(story)


def test_a_key_of_one_project_does_not_see_another(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.call("POST", "/v1/projects", "admin", json={"name": "lab"})
        made = await site.call("POST", "/v1/lab/keys", "admin", json={"scope": "read"})
        await sign_in(site, made.json()["key"])
        assert (await site.http.get("/p/default")).status_code == 404
        assert "none yet in lab" in await page(site, "", "lab")
        await sign_in(site, "admin")
        assert "/p/default/d/flow" in await page(site)
        assert "lab" in await page(site, "/projects")

    on_site(story)


def test_the_settings_page_says_how_workers_are_confined(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await sign_in(site)
        site.engine.sandbox = SandboxState(
            "isolated", "guarded", False, 6, True, True, "cgroup v2", ("There is no bwrap.",)
        )
        text = await page(site, "/settings")
        for shown in ("guarded, not isolated", "one for each project", "cgroup v2", "no bwrap"):
            assert shown in text
        told = (await site.call("GET", "/metrics")).text
        line = 'penstock_sandbox_info{asked="isolated",memory="cgroup v2",tier="guarded"'
        assert any(all(w in x for w in line[22:].split(",")) for x in told.splitlines())
        state = (await site.call("GET", "/v1/status")).json()["sandbox"]
        assert (state["tier"], state["memory"]) == ("guarded", "cgroup v2")

    on_site(story)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example",
        "/p/../\\evil.example", "/p//evil.example\r\nX: y", "javascript:alert(1)", "/p/\t/evil",
        "http:evil.example", "/p/default@evil.example\n", " //evil.example", "data:text/html,x",
        "///evil.example", "/%2f%2fevil.example", "", "p/default",
    ],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(on_site: Run, path: str) -> None:
    async def story(site: Any) -> None:
        form = {"key": site.keys["deploy"], "next": path}
        answer = await site.http.post("/sign-in", data=form)
        assert answer.status_code == 303
        to = answer.headers["location"]
        assert to == "/" or to.startswith("/p/"), to
        assert not set("\\\r\n\t") & set(to), to
        assert "//" not in to, to
        assert "set-cookie" in answer.headers

    on_site(story)


@pytest.mark.parametrize("path", ["/", "/sign-in", "/p/default", "/p/default/settings", "/nowhere"])
def test_no_page_can_be_put_into_a_frame_or_run_what_is_not_the_servers(
    on_site: Run, path: str
) -> None:
    async def story(site: Any) -> None:
        for signed_in in (False, True):
            if signed_in:
                await sign_in(site)
            headers = (await site.http.get(path)).headers
            policy = dict(
                part.strip().partition(" ")[::2]
                for part in headers["content-security-policy"].split(";")
            )
            assert policy["frame-ancestors"] == "'none'"
            assert headers["x-frame-options"] == "DENY"
            assert policy.get("base-uri", policy.get("default-src")) == "'none'"
            assert "unsafe" not in policy.get("script-src", policy["default-src"])

    on_site(story)
