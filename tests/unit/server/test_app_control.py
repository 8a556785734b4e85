"""The control API over HTTP: what it answers, to whom, and how it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.errors import LoadFailed
from penstock.server.routes import ENDPOINTS

Run = Callable[..., None]


def test_a_deploy_streams_its_events_and_the_endpoint_answers(on_site: Run) -> None:
    async def story(site: Any) -> None:
        events = await site.deploy()
        assert [e["event"] for e in events] == ["step"] * 4 + ["ready"]
        last = events[-1]
        assert last["endpoint"] == "http://here/v1/default/flow/predict"
        assert (last["version"]["number"], last["version"]["active"]) == (1, True)
        answer = await site.call("POST", "/v1/default/flow/predict", "predict", json=[1, 2])
        assert (answer.status_code, answer.json()) == (200, {"result": [1, 2]})

    on_site(story)


def test_a_deploy_that_fails_ends_with_the_error_and_the_last_log_lines(on_site: Run) -> None:
    async def story(site: Any) -> None:
        site.engine.fail = LoadFailed("Stage 1 is no model.", stage=1, logs=["boom"])
        last = (await site.deploy())[-1]
        assert last["event"] == "failed"
        assert (last["error"]["code"], last["error"]["stage"]) == ("load_failed", 1)
        assert last["logs"] == ["boom"]

    on_site(story)


def test_what_cannot_be_served_is_refused_with_its_own_status(on_site: Run) -> None:
    async def story(site: Any) -> None:
        path = "/v1/default/flow/versions"
        missing = await site.call("POST", path, json={"manifest": site.manifest()})
        assert (missing.status_code, missing.json()["error"]["code"]) == (409, "blob_missing")
        broken = await site.call("POST", path, json={"manifest": {"stages": []}})
        assert (broken.status_code, broken.json()["error"]["code"]) == (422, "invalid_manifest")
        body = {"manifest": site.manifest(), "settings": {"replicas": 0}}
        wrong = await site.call("POST", path, json=body)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_setting")
        other = await site.call("POST", path, json={**body, "settings": {"replicants": 1}})
        assert (other.status_code, other.json()["error"]["code"]) == (400, "malformed_body")
        assert "replicants" in other.json()["error"]["message"]

    on_site(story)


def test_versions_are_listed_activated_and_deleted(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        path = "/v1/default/flow/versions"
        listed = (await site.call("GET", path)).json()["versions"]
        assert [(v["number"], v["active"]) for v in listed] == [(2, True), (1, False)]
        active = await site.call("DELETE", f"{path}/2")
        assert (active.status_code, active.json()["error"]["code"]) == (409, "conflict")
        rolled = await site.call("POST", f"{path}/1/activate")
        assert rolled.json()["active"]
        assert (await site.call("DELETE", f"{path}/2")).status_code == 204
        assert (await site.call("GET", f"{path}/2")).status_code == 404
        assert (await site.call("DELETE", "/v1/default/flow")).status_code == 204
        assert (await site.call("GET", "/v1/default")).json() == {"deployments": []}

    on_site(story)


def test_a_version_that_is_not_active_answers_at_its_own_address(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        await site.deploy()
        answer = await site.call("POST", "/v1/default/flow/versions/1/predict", json=[3])
        assert answer.json() == {"result": [3]}
        absent = await site.call("POST", "/v1/default/flow/versions/9/predict", json=[3])
        assert absent.status_code == 404

    on_site(story)


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/v1/whoami", "", 401),
        ("GET", "/v1/whoami", "predict", 200),
        ("GET", "/v1/default", "predict", 403),
        ("GET", "/v1/default", "deploy", 200),
        ("GET", "/v1/other", "deploy", 403),
        ("GET", "/v1/other", "admin", 404),
        ("GET", "/v1/projects", "deploy", 403),
        ("GET", "/v1/projects", "admin", 200),
        ("GET", "/v1/default/flow", "deploy", 404),
        ("PUT", "/v1/default/flow", "deploy", 405),
        ("GET", "/v1/default/flow/versions/one", "deploy", 404),
        ("GET", "/nowhere", "", 404),
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
        ("GET", "/v1/environment", "predict", 200),
        ("HEAD", "/healthz", "", 200),
    ],
)
def test_who_may_ask_for_what(on_site: Run, method: str, path: str, key: str, status: int) -> None:
    async def story(site: Any) -> None:
        answer = await site.call(method, path, key)
        assert answer.status_code == status, answer.text
        if status >= 400:
            error = answer.json()["error"]
            assert {"code", "message", "stage", "function", "type", "hint"} <= set(error)
        if status == 405:
            assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"

    on_site(story)


def test_keys_are_made_shown_once_listed_and_revoked(on_site: Run) -> None:
    async def story(site: Any) -> None:
        body = {"scope": "read", "label": "screen"}
        made = (await site.call("POST", "/v1/default/keys", json=body)).json()
        site.keys["new"] = made["key"]
        assert (await site.call("GET", "/v1/default", "new")).status_code == 200
        listed = await site.call("GET", "/v1/default/keys")
        assert made["key"] not in listed.text
        assert made["key_id"] in [k["key_id"] for k in listed.json()["keys"]]
        gone = await site.call("DELETE", f"/v1/default/keys/{made['key_id']}")
        assert gone.json()["revoked_at"] is not None
        assert (await site.call("GET", "/v1/default", "new")).status_code == 401
        admin = await site.call("POST", "/v1/default/keys", json={"scope": "admin"})
        assert admin.status_code == 403

    on_site(story)


def test_projects_are_made_by_admins(on_site: Run) -> None:
    async def story(site: Any) -> None:
        made = await site.call("POST", "/v1/projects", "admin", json={"name": "lab"})
        assert made.status_code == 201
        again = await site.call("POST", "/v1/projects", "admin", json={"name": "lab"})
        assert again.status_code == 409
        names = [
            p["name"] for p in (await site.call("GET", "/v1/projects", "admin")).json()["projects"]
        ]
        assert names == ["default", "lab"]

    on_site(story)


def test_files_are_taken_once_and_checked(on_site: Run) -> None:
    async def story(site: Any) -> None:
        name = hashlib.sha256(b"abc").hexdigest()
        ask = {"sha256": [name]}
        path = "/v1/default/blobs"
        assert (await site.call("POST", f"{path}/missing", json=ask)).json() == {"missing": [name]}
        wrong = await site.call("PUT", f"{path}/{name}", content=b"abd")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "blob_corrupt")
        right = await site.call("PUT", f"{path}/{name}", content=b"abc")
        assert right.json() == {"sha256": name, "size": 3}
        assert (await site.call("POST", f"{path}/missing", json=ask)).json() == {"missing": []}
        large = await site.call("PUT", f"{path}/{name}", content=b"x" * 2048)
        assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")

    on_site(story, max_blob_bytes=1024)


def test_a_control_body_that_is_too_large_is_refused(on_site: Run) -> None:
    async def story(site: Any) -> None:
        answer = await site.call("POST", "/v1/projects", "admin", content=b"x" * 2000)
        assert answer.status_code == 413

    on_site(story, max_control_body_bytes=1024)


#: Endpoints whose requests may be large; everybody waits while one is read.
LARGE = {
    "POST /v1/{project}/blobs/missing",
    "POST /v1/{project}/{name}/versions",
    "POST /v1/{project}/{name}/monitoring",
}


def test_only_manifests_lists_of_files_and_references_may_be_large(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        seen = set()
        for one in ENDPOINTS:
            if one.takes is None or isinstance(one.takes, str) or one.path.endswith("predict"):
                continue
            path = one.path.format(project="default", name="flow", secret="S")
            answer = await site.call(one.method, path, "admin", content=b'"' + b"x" * 2000 + b'"')
            if answer.status_code == 413:
                assert "max_control_body_bytes" in answer.json()["error"]["hint"], one.path
            else:
                assert answer.json()["error"]["code"] == "malformed_body", (one.path, answer.text)
                seen.add(f"{one.method} {one.path}")
        assert seen == LARGE

    on_site(story, max_control_body_bytes=1024)


def test_a_defect_is_answered_with_an_id_and_logged(
    on_site: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(site: Any) -> None:
        monkeypatch.setattr(site.house.parts.deployments, "list", None)
        answer = await site.call("GET", "/v1/default")
        assert answer.status_code == 500
        body = answer.json()
        assert body["error"]["code"] == "internal"
        assert "NoneType" not in answer.text
        assert body["run_id"] in caplog.text
        assert "TypeError" in caplog.text

    on_site(story)


def test_readiness_names_what_does_not_serve(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        assert (await site.call("GET", "/readyz", "")).json()["status"] == "ready"
        record = site.house.predictor.routes[b"/v1/default/flow/predict"].pool.key
        site.house.pools.stop(record)
        answer = await site.call("GET", "/readyz", "")
        assert (answer.status_code, answer.json()["not_serving"]) == (503, ["default/flow"])

    on_site(story)


def test_the_limits_of_a_deployment_change_without_a_deploy(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        path = "/v1/default/flow"
        fresh = (await site.call("GET", path)).json()["scaling"]
        assert (fresh["min_replicas"], fresh["max_replicas"], fresh["cooldown_s"]) == (1, None, 60)
        body = {"min_replicas": 0, "cooldown_s": 5}
        changed = (await site.call("PATCH", path, json=body)).json()["scaling"]
        assert (changed["min_replicas"], changed["cooldown_s"]) == (0, 5)
        await site.deploy()
        kept = (await site.call("PATCH", path, json={"cooldown_s": None})).json()["scaling"]
        assert (kept["min_replicas"], kept["cooldown_s"]) == (0, 60)
        wrong = await site.call("PATCH", path, json={"max_replicas": 0})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_setting")
        unknown = await site.call("PATCH", path, json={"replicas": 1})
        assert unknown.status_code == 400
        assert (await site.call("PATCH", path, "predict", json={})).status_code == 403
        assert (await site.call("PATCH", "/v1/default/none", json={})).status_code == 404

    on_site(story)
