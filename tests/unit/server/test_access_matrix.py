"""Who may call what: every endpoint, by every kind of key, in both projects.

The endpoints come from the code, so a new one without a row here fails. The table says it once
more, in words of its own: an endpoint whose scope is loosened by mistake fails too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from penstock.control.key_grants import Grant
from penstock.core.records import Scope
from penstock.dashboard.pages import PAGES
from penstock.server.routes import ENDPOINTS

#: What a key needs for each endpoint: `nobody` no key at all, `any` any key of the project.
ROWS = {
    "GET /healthz": "nobody",
    "GET /readyz": "nobody",
    "GET /v2/health/live": "nobody",
    "GET /v2/health/ready": "nobody",
    "GET /v2": "nobody",
    "GET /ping": "nobody",
    "GET /v2/models/{name}": "known",
    "GET /v2/models/{name}/versions/{number:int}": "known",
    "GET /v2/models/{name}/ready": "known",
    "GET /v2/models/{name}/versions/{number:int}/ready": "known",
    "POST /v2/models/{name}/infer": "predict",
    "POST /v2/models/{name}/versions/{number:int}/infer": "predict",
    "POST /predictions/{name}": "predict",
    "PUT /predictions/{name}": "predict",
    "POST /predictions/{name}/{number:int}": "predict",
    "PUT /predictions/{name}/{number:int}": "predict",
    "GET /v1/whoami": "known",
    "GET /v1/environment": "known",
    "GET /v1/projects": "admin",
    "POST /v1/projects": "admin",
    "GET /v1/openapi.json": "nobody",
    "GET /v1/{project}/{name}/openapi.json": "any",
    "GET /v1/{project}/keys": "deploy",
    "POST /v1/{project}/keys": "deploy",
    "DELETE /v1/{project}/keys/{key_id}": "deploy",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "DELETE /v1/keys/{key_id}": "admin",
    "POST /v1/{project}/blobs/missing": "deploy",
    "PUT /v1/{project}/blobs/{sha256}": "deploy",
    "GET /v1/{project}": "read",
    "GET /v1/{project}/{name}": "read",
    "DELETE /v1/{project}/{name}": "deploy",
    "PATCH /v1/{project}/{name}": "deploy",
    "GET /v1/{project}/{name}/versions": "read",
    "POST /v1/{project}/{name}/versions": "deploy",
    "GET /v1/{project}/{name}/versions/{number:int}": "read",
    "DELETE /v1/{project}/{name}/versions/{number:int}": "deploy",
    "POST /v1/{project}/{name}/versions/{number:int}/activate": "deploy",
    "POST /v1/{project}/{name}/predict": "predict",
    "POST /v1/{project}/{name}/versions/{number:int}/predict": "predict",
    "GET /v1/{project}/runs": "read",
    "GET /v1/{project}/runs/{run_id}": "any",
    "POST /v1/{project}/runs/{run_id}/cancel": "predict",
    "GET /v1/{project}/webhooks/deliveries": "read",
    "GET /v1/{project}/webhooks/deliveries/{delivery_id}": "read",
    "POST /v1/{project}/webhooks/deliveries/{delivery_id}/redeliver": "deploy",
    "POST /v1/{project}/webhooks/deliveries/{delivery_id}/cancel": "deploy",
    "POST /v1/{project}/webhooks/deliveries/cancel": "deploy",
    "GET /v1/{project}/webhooks/secret": "deploy",
    "POST /v1/{project}/webhooks/secret": "deploy",
    "GET /v1/{project}/files": "deploy",
    "DELETE /v1/{project}/files/{file_id}": "deploy",
    "GET /v1/{project}/files/{file_id}/{name}": "signed",
    "GET /v1/{project}/secrets": "deploy",
    "PUT /v1/{project}/secrets/{secret}": "deploy",
    "DELETE /v1/{project}/secrets/{secret}": "deploy",
    "POST /v1/secrets/rotate": "admin",
    "GET /v1/{project}/audit": "deploy",
    "GET /v1/audit": "admin",
    "GET /v1/status": "read",
    "GET /metrics": "read",
    "GET /v1/environments": "admin",
    "GET /v1/{project}/{name}/monitoring": "read",
    "POST /v1/{project}/{name}/monitoring": "deploy",
    "DELETE /v1/{project}/{name}/monitoring": "deploy",
    "POST /v1/{project}/{name}/feedback": "predict",
    "GET /v1/{project}/traffic": "read",
    "GET /v1/{project}/{name}/traffic": "read",
    "GET /v1/{project}/{name}/logs": "read",
    "GET /v1/{project}/runs/{run_id}/details": "read",
    "GET /v1/{project}/runs/{run_id}/input": "read",
    "GET /v1/{project}/runs/{run_id}/logs": "read",
}

#: What each role may do that a row asks for, in its own project.
MAY: dict[str, set[str]] = {
    "none": set(),
    "unknown": set(),
    "revoked": set(),
    "expired": set(),
    "predict": {"known", "any", "predict"},
    "read": {"known", "any", "read"},
    "deploy": {"known", "any", "predict", "read", "deploy"},
    "admin": {"known", "any", "predict", "read", "deploy", "admin"},
}

#: Endpoints that do not name a project: the key's own is meant.
OWN = ("/v2/models/", "/predictions/")

#: Endpoints of a project for a key that is granted some of its deployments: which of them it may
#: call, besides those that name a deployment it is granted.
GRANTED = {
    "GET /v1/{project}": "sees those it is granted",
    "GET /v1/{project}/runs": "sees those of deployments that it is granted",
    "GET /v1/{project}/traffic": "sees that of deployments that it is granted",
    "GET /v1/{project}/runs/{run_id}/logs": "sees lines of deployments that it is granted",
    "GET /v1/{project}/runs/{run_id}/details": "must be of a deployment that it is granted",
    "GET /v1/{project}/runs/{run_id}/input": "must be of a deployment that it is granted",
    "GET /v1/{project}/runs/{run_id}": "must be of a deployment that it is granted",
    "POST /v1/{project}/runs/{run_id}/cancel": "must be of a deployment that it is granted",
    "POST /v1/{project}/blobs/missing": "files belong to no deployment yet",
    "PUT /v1/{project}/blobs/{sha256}": "files belong to no deployment yet",
}

#: Name of the things in the project `default` that are asked for; errors may repeat it.
MARK = "zebra"

#: In things of the project `default` that nobody asks for by name: only a read could show it.
UNASKED = "okapi"

REFUSED = {401, 403}


@dataclass
class World:
    """A site with two projects; in `default` there is one of everything, marked."""

    site: Any
    keys: dict[str, str]
    ids: dict[str, str]

    async def call(self, row: str, key: str | None, project: str = "default", **names: str) -> Any:
        method, _, template = row.partition(" ")
        path = template.replace(":int", "").format(project=project, **{**self.ids, **names})
        headers = {} if key is None else {"Authorization": key}
        json = None if method in {"GET", "DELETE"} else {}
        return await self.site.http.request(method, path, headers=headers, json=json)


async def world_of(site: Any) -> World:
    await site.deploy(MARK)
    await site.deploy(UNASKED)
    keys = site.house.parts.keys
    await site.house.parts.projects.add("other")
    made = {"none": None, "unknown": "pk_d_00000000_" + "x" * 32, "admin": site.keys["admin"]}
    ids: dict[str, str] = {}
    for project in ("default", "other"):
        for scope in (Scope.PREDICT, Scope.READ, Scope.DEPLOY):
            label = f"{MARK} {UNASKED}" if project == "default" else ""
            text, record = await keys.issue(scope, project, label)
            made[f"{project}/{scope.value}"] = text
            ids["key_id"] = record.key_id if project == "default" else ids["key_id"]
    made["revoked"], record = await keys.issue(Scope.DEPLOY, "default")
    await keys.revoke(record.key_id)
    made["expired"], _ = await keys.issue(Scope.DEPLOY, "default", grant=Grant(expires_in_s=1e-6))
    _victim, record = await keys.issue(Scope.READ, "default", f"victim {MARK}")
    ids["key_id"] = record.key_id
    made["granted"], _ = await keys.issue(
        Scope.DEPLOY, "default", grant=Grant(deployments=("another",))
    )
    ids |= {"name": MARK, "number": "1", "secret": f"SECRET_{MARK}", "file_id": "file_1"}
    ids |= {"delivery_id": "msg_1", "sha256": hashlib.sha256(MARK.encode()).hexdigest()}
    for name in (MARK, UNASKED):
        await site.house.parts.secrets.set("default", f"SECRET_{name}", f"value-{UNASKED}", "me")
    answer = await site.call(
        "POST", f"/v1/default/{MARK}/predict?async=true", "predict", json=[MARK, UNASKED]
    )
    assert answer.status_code == 202, answer.text
    ids["run_id"] = answer.json()["run_id"]
    return World(site, made, ids)


def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    assert {f"{e.method} {e.path}" for e in ENDPOINTS} == set(ROWS)


def test_the_application_answers_nothing_but_endpoints_and_pages(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        there = {route.path for route in site.house.app.routes}
        endpoints = {endpoint.path for endpoint in ENDPOINTS}
        pages = {f"/p/{{project}}{path}" for _method, path, _handler in PAGES}
        static = {path for path in there if path.startswith("/static/")}
        assert there == endpoints | pages | static | {"/", "/sign-in", "/sign-out"}

    on_site(story)


def test_nobody_may_call_what_the_table_does_not_allow(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        checked = 0
        for row, need in ROWS.items():
            for role, may in MAY.items():
                key = world.keys.get(role, world.keys.get(f"default/{role}"))
                if need in {"nobody", "signed"} or need in may:
                    continue
                answer = await world.call(row, key)
                told = f"{row} by {role}: {answer.status_code}"
                expected = 401 if role in {"none", "unknown", "revoked", "expired"} else 403
                assert answer.status_code == expected, told
                assert UNASKED not in answer.text.lower(), told
                checked += 1
        assert checked > 250

    on_site(story)


def test_everybody_may_call_what_the_table_allows(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        late = [row for row in ROWS if row.startswith(("DELETE", "POST /v1/secrets"))]
        for row in [*[row for row in ROWS if row not in late], *late]:
            for role, may in MAY.items():
                key = world.keys.get(role, world.keys.get(f"default/{role}"))
                if ROWS[row] != "nobody" and ROWS[row] not in may:
                    continue
                answer = await world.call(row, key)
                assert answer.status_code not in REFUSED, f"{row} by {role}: {answer.text}"
                assert answer.status_code < 500 or row.endswith("ready"), f"{row}: {answer.text}"

    on_site(story)


def test_no_key_of_one_project_reads_or_changes_anything_of_another(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        reads = checked = 0
        for row, need in ROWS.items():
            if "{project}" not in row or need == "signed":
                continue
            for scope in ("predict", "read", "deploy"):
                # Their key on our address, and our things under their own address.
                for project in ("default", "other"):
                    answer = await world.call(row, world.keys[f"other/{scope}"], project)
                    checked += 1
                    reads += UNASKED in answer.text.lower()
                    if project == "default":
                        assert answer.status_code == 403, f"{row} by other/{scope}"
        for row in (row for row in ROWS if any(row.split()[1].startswith(o) for o in OWN)):
            for scope in ("predict", "deploy"):
                answer = await world.call(row, world.keys[f"other/{scope}"])
                assert answer.status_code in {404, 503}, f"{row}: {answer.text}"
        for row in ("GET /v1/whoami", "GET /v1/environment", "GET /v1/status"):
            answer = await world.call(row, world.keys["other/deploy"])
            assert answer.status_code == 200
            reads += UNASKED in answer.text.lower()
        assert reads == 0
        assert checked > 150
        kept = await site.house.parts.secrets.list("default")
        assert [secret.name for secret in kept] == [f"SECRET_{UNASKED}", world.ids["secret"]]
        victim = site.house.parts.keys.by_id(world.ids["key_id"])
        assert victim is not None, "a key was revoked from another project"

    on_site(story)


def test_a_key_for_some_deployments_reaches_no_other_and_nothing_of_the_whole_project(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        key = world.keys["granted"]
        for row, need in ROWS.items():
            if need in {"nobody", "known", "signed"} or need not in MAY["deploy"]:
                continue
            answer = await world.call(row, key)
            if "{project}" not in row:
                continue
            if GRANTED.get(row, "must").startswith("must"):
                assert answer.status_code == 403, f"{row}: {answer.text}"
            else:
                assert answer.status_code not in REFUSED, f"{row}: {answer.text}"
            assert UNASKED not in answer.text.lower(), row
            if "{name}" in row and "{project}" in row:
                answer = await world.call(row, key, name="another")
                assert answer.status_code not in REFUSED, f"{row}: {answer.text}"
        listed = await world.call("GET /v1/{project}", key)
        assert listed.json() == {"deployments": []}
        headers = {"Authorization": key}
        ours = await site.http.get("/v1/default/runs?deployment=another", headers=headers)
        assert ours.json() == {"runs": [], "next": None}
        theirs = await site.http.get(f"/v1/default/runs?deployment={MARK}", headers=headers)
        assert theirs.status_code == 403
        told = await site.http.get("/metrics", headers=headers)
        assert told.status_code == 200
        assert MARK not in told.text.lower()

    on_site(story)


def test_a_key_for_some_deployments_sees_their_runs_and_no_others(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        keys = site.house.parts.keys
        key, _ = await keys.issue(Scope.DEPLOY, "default", grant=Grant(deployments=(MARK,)))
        headers = {"Authorization": key}
        asked = f"/v1/default/{UNASKED}/predict"
        answer = await site.call("POST", f"{asked}?async=true", "predict", json=[UNASKED])
        other = answer.json()["run_id"]
        listed = await site.http.get("/v1/default/runs", headers=headers)
        assert [run["run_id"] for run in listed.json()["runs"]] == [world.ids["run_id"]]
        everybody = await site.call("GET", "/v1/default/runs", "deploy")
        assert {run["run_id"] for run in everybody.json()["runs"]} == {other, world.ids["run_id"]}
        for what, mine in (("", 200), ("/details", 200), ("/input", 200), ("/logs", 200)):
            path = f"/v1/default/runs/{world.ids['run_id']}{what}"
            assert (await site.http.get(path, headers=headers)).status_code == mine, path
            path = f"/v1/default/runs/{other}{what}"
            answer = await site.http.get(path, headers=headers)
            if what == "/logs":
                assert answer.json()["lines"] == []
            else:
                assert answer.status_code == 403, path

    on_site(story)


def test_a_key_for_some_deployments_sees_kept_calls_of_them(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        await world_of(site)
        keys = site.house.parts.keys
        mine, _ = await keys.issue(Scope.DEPLOY, "default", grant=Grant(deployments=(MARK,)))
        theirs, _ = await keys.issue(Scope.DEPLOY, "default", grant=Grant(deployments=(UNASKED,)))
        answer = await site.call("POST", f"/v1/default/{MARK}/predict", "predict", json=[MARK])
        run_id = answer.headers["penstock-run-id"]
        await site.house.insight.recorder.flush()
        for key, status in ((mine, 200), (theirs, 403)):
            for what in ("", "/details"):
                path = f"/v1/default/runs/{run_id}{what}"
                got = await site.http.get(path, headers={"Authorization": key})
                assert got.status_code == status, (path, got.text)

    on_site(story)


async def signed_in(site: Any, key: str, project: str) -> str:
    """Begin a session; return the word that its forms carry."""
    site.http.cookies.clear()
    answer = await site.http.post("/sign-in", data={"key": key})
    assert answer.status_code == 303, answer.text
    front = await site.http.get(f"/p/{project}")
    word = re.search(r'<meta name="csrf" content="(\w+)"', front.text)
    assert word is not None
    return word[1]


def page_addresses(world: World) -> list[tuple[str, str]]:
    """Return method and path of every page and form, with names of things of `default`."""
    return [(m, p.replace(":int", "").format(**world.ids)) for m, p, _handler in PAGES]


def test_no_session_of_one_project_sees_or_changes_a_page_of_another(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        checked = 0
        for scope in ("read", "deploy"):
            word = await signed_in(site, world.keys[f"other/{scope}"], "other")
            for method, path in page_addresses(world):
                for project in ("default", "other"):
                    fields = {} if method == "GET" else {"data": {"csrf": word, "typed": MARK}}
                    answer = await site.http.request(method, f"/p/{project}{path}", **fields)
                    told = f"{method} /p/{project}{path} by other/{scope}: {answer.status_code}"
                    assert UNASKED not in answer.text.lower(), told
                    assert answer.status_code < 500, told
                    assert project == "other" or answer.status_code == 404, told
                    checked += 1
        assert checked == 4 * len(PAGES)
        names = {found.name for found in await site.house.parts.deployments.list("default")}
        assert names == {MARK, UNASKED}
        kept = await site.house.parts.secrets.list("default")
        assert [secret.name for secret in kept] == [f"SECRET_{UNASKED}", world.ids["secret"]]
        assert site.house.parts.keys.by_id(world.ids["key_id"]) is not None

    on_site(story)


def test_a_session_for_some_deployments_sees_no_other_on_any_page(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None],
) -> None:
    async def story(site: Any) -> None:
        world = await world_of(site)
        word = await signed_in(site, world.keys["granted"], "default")
        for method, path in page_addresses(world):
            fields = {} if method == "GET" else {"data": {"csrf": word, "typed": MARK}}
            answer = await site.http.request(method, f"/p/default{path}", **fields)
            told = f"{method} {path}: {answer.status_code}"
            assert UNASKED not in answer.text.lower(), told
            assert answer.status_code < 500, told
            if f"/d/{MARK}" in path:
                assert answer.status_code == 404, told
        names = {found.name for found in await site.house.parts.deployments.list("default")}
        assert names == {MARK, UNASKED}

    on_site(story)


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic eDp5", "Key", "pk_d_x y z", "\t"])
def test_no_form_of_a_missing_key_gets_in(
    on_site: Callable[[Callable[[Any], Awaitable[None]]], None], header: str
) -> None:
    async def story(site: Any) -> None:
        for path in ("/v1/whoami", "/v1/default/keys", "/v1/default/secrets", "/v1/audit"):
            answer = await site.http.get(path, headers={"Authorization": header})
            assert answer.status_code == 401, path

    on_site(story)
