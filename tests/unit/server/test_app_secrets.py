"""Secrets, keys and the audit log over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

OnSite = Callable[[Callable[[Any], Awaitable[None]]], None]


def test_a_secret_is_set_listed_and_deleted_and_never_answered(on_site: OnSite) -> None:
    async def story(site: Any) -> None:
        path = "/v1/default/secrets"
        value = {"value": "never-shown-1"}
        made = await site.call("PUT", f"{path}/TOKEN", json=value)
        assert (made.status_code, made.json()) == (201, {"name": "TOKEN", "created": True})
        again = await site.call("PUT", f"{path}/TOKEN", json=value)
        assert (again.status_code, again.json()["created"]) == (200, False)
        listed = await site.call("GET", path)
        [shown] = listed.json()["secrets"]
        assert shown["name"] == "TOKEN"
        assert shown["updated_by"] == site.keys["deploy"][:13]
        for answer in (made, again, listed, await site.call("GET", f"{path}/TOKEN")):
            assert "never-shown" not in answer.text
        assert (await site.call("DELETE", f"{path}/TOKEN")).status_code == 204
        assert (await site.call("DELETE", f"{path}/TOKEN")).status_code == 404

    on_site(story)


@pytest.mark.parametrize("body", [{}, {"value": 1}, {"value": ""}, {"value": "x", "more": 1}])
def test_a_body_that_is_no_secret_is_refused(on_site: OnSite, body: dict[str, object]) -> None:
    async def story(site: Any) -> None:
        answer = await site.call("PUT", "/v1/default/secrets/A", json=body)
        assert answer.status_code in {400, 422}

    on_site(story)


def test_a_deploy_that_declares_what_is_not_set_is_refused_at_once(on_site: OnSite) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        fields = {"manifest": site.manifest(), "settings": {"secrets": ["TOKEN"]}}
        answer = await site.call("POST", "/v1/default/flow/versions", json=fields)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "secret_not_set"
        await site.call("PUT", "/v1/default/secrets/TOKEN", json={"value": "value-1"})
        events = await site.deploy(settings={"secrets": ["TOKEN"]})
        assert events[-1]["version"]["settings"]["secrets"] == ["TOKEN"]

    on_site(story)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hardware": "TPU"}, "AMPERE_A100"),
        ({"gpu": 0}, "gpu is 0"),
        ({"secrets": ["a b"]}, "name of a secret"),
        ({"secrets": [f"S{n}" for n in range(257)]}, "256 secrets"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    on_site: OnSite, settings: dict[str, Any], said: str
) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        fields = {"manifest": site.manifest(), "settings": settings}
        answer = await site.call("POST", "/v1/default/flow/versions", json=fields)
        assert answer.status_code in {400, 422}
        error = answer.json()["error"]
        assert said in f"{error['message']} {error['hint']}"

    on_site(story)


def test_every_change_is_in_the_audit_log_with_who_and_to_what(on_site: OnSite) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.call("PUT", "/v1/default/secrets/TOKEN", json={"value": "never-shown-2"})
        made = (
            await site.call("POST", "/v1/default/keys", json={"scope": "read", "label": "ci"})
        ).json()
        await site.call("DELETE", f"/v1/default/keys/{made['key_id']}")
        await site.call("DELETE", "/v1/default/secrets/NONE")
        await site.call("POST", "/v1/projects", "admin", json={"name": "shop"})
        log = (await site.call("GET", "/v1/default/audit")).json()["entries"]
        seen = [(e["action"], e["target"], e["status"]) for e in log]
        assert seen == [
            ("delete_secret", "default/secrets/NONE", 404),
            ("revoke_key", f"default/keys/{made['key_id']}", 200),
            ("add_key", "default/keys", 201),
            ("set_secret", "default/secrets/TOKEN", 201),
            ("add_version", "default/flow/versions", 200),
        ]
        assert {e["actor"] for e in log} == {site.keys["deploy"][:13]}
        assert log[2]["details"] == {"key": made["prefix"], "scope": "read", "label": "ci"}
        whole = (await site.call("GET", "/v1/audit?limit=1", "admin")).json()
        assert whole["entries"][0]["action"] == "add_project"
        text = (await site.call("GET", "/v1/audit", "admin")).text
        assert "never-shown" not in text
        assert made["key"] not in text
        older = await site.call("GET", f"/v1/audit?before={whole['before']}", "admin")
        assert [e["action"] for e in older.json()["entries"]] == [s[0] for s in seen]

    on_site(story)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "before=-1"])
def test_a_page_that_is_none_is_refused(on_site: OnSite, query: str) -> None:
    async def story(site: Any) -> None:
        answer = await site.call("GET", f"/v1/default/audit?{query}")
        assert answer.status_code == 422

    on_site(story)


def test_an_admin_key_makes_and_revokes_admin_keys_but_not_itself(on_site: OnSite) -> None:
    async def story(site: Any) -> None:
        made = (await site.call("POST", "/v1/keys", "admin", json={"scope": "admin"})).json()
        site.keys["second"] = made["key"]
        own = (await site.call("GET", "/v1/whoami", "second")).json()["key_id"]
        assert (await site.call("DELETE", f"/v1/keys/{own}", "second")).status_code == 409
        assert (await site.call("DELETE", f"/v1/keys/{own}", "admin")).status_code == 200
        assert (await site.call("GET", "/v1/whoami", "second")).status_code == 401
        wrong = await site.call("POST", "/v1/keys", "admin", json={"scope": "read"})
        assert wrong.status_code == 422

    on_site(story)


def test_a_rotation_answers_how_many_values_were_encrypted_anew(on_site: OnSite) -> None:
    async def story(site: Any) -> None:
        await site.call("PUT", "/v1/default/secrets/A", json={"value": "value-a"})
        answer = await site.call("POST", "/v1/secrets/rotate", "admin")
        assert answer.json() == {"values": 1}

    on_site(story)


def test_too_many_requests_of_a_key_are_answered_429_with_retry_after(
    on_site: Callable[..., None],
) -> None:
    async def story(site: Any) -> None:
        answers = [await site.call("GET", "/v1/whoami") for _ in range(6)]
        assert [a.status_code for a in answers] == [200] * 5 + [429]
        assert answers[-1].json()["error"]["code"] == "rate_limited"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await site.call("GET", "/v1/whoami", "predict")).status_code == 200

    on_site(story, rate_limit_per_s=0.5, rate_limit_burst=5)
