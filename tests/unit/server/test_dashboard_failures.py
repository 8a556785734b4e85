"""What the pages say of calls that failed: how often, since when, why, where it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from penstock.control.insight.points import Point
from penstock.control.insight.ring import Ring
from penstock.core.insight_records import CallRecord
from penstock.core.names import new_run_id
from penstock.core.states import RunState
from penstock.engine.base import VersionKey
from penstock.stores.insight_base import Batch

Run = Callable[..., None]


def failed(version: int, age_s: float, kind: str = "KeyError") -> CallRecord:
    error = {
        "code": "function_failed", "message": f"pre of stage 1 raised {kind}.", "stage": 1,
        "function": "pre", "type": kind, "hint": None, "traceback": f"Traceback\n{kind}: 'fee'",
        "facts": {"values": {"name": "'fee'"}},
    }  # fmt: skip
    return CallRecord(
        run_id=new_run_id(), project="default", deployment="flow", version=version, key_id="k",
        state=RunState.FAILED, created_at=time.time() - age_s, run_time_ms=1.5,
        media_type="application/json", size_bytes=3, points=0,
        server_timing="queue;dur=0.1, decode;dur=0.1, s1-pre;dur=0.4", code="function_failed",
        error=json.dumps(error), input=b"[1]",
    )  # fmt: skip


async def keep(site: Any, *calls: CallRecord) -> None:
    thread = site.house.insight.thread
    await thread.call(thread.store.write, Batch(calls=calls))


async def signed_in(site: Any) -> None:
    await site.deploy()
    await site.deploy()
    await site.http.post("/sign-in", data={"key": site.keys["deploy"]})


def test_a_failed_run_says_how_often_the_same_happened_and_in_which_versions(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await signed_in(site)
        newest = failed(2, 5)
        await keep(site, newest, failed(2, 60), failed(1, 90), failed(2, 30, "ValueError"))
        text = (await site.http.get(f"/p/default/runs/{newest.run_id}")).text
        assert "3 runs since" in text
        assert "v1, v2" in text
        assert "did not raise it" not in text
        assert "not reached" in text

    on_site(story)


def test_where_samples_are_off_a_run_shows_no_values(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await signed_in(site)
        run = failed(2, 5)
        await keep(site, run)
        found = await site.call("GET", f"/v1/default/runs/{run.run_id}/details")
        assert "values" not in found.json()["error"]["facts"]
        assert found.json()["error"]["traceback"]

    on_site(story, samples="redacted")


def test_values_are_for_keys_that_may_deploy(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await signed_in(site)
        run = failed(2, 5)
        await keep(site, run)
        made = await site.call("POST", "/v1/default/keys", "admin", json={"scope": "read"})
        site.keys["read"] = made.json()["key"]
        path = f"/v1/default/runs/{run.run_id}/details"
        told = (await site.call("GET", path)).json()["error"]["facts"]
        assert told["values"] == {"name": "'fee'"}
        assert "values" not in (await site.call("GET", path, "read")).json()["error"]["facts"]
        await site.http.post("/sign-in", data={"key": site.keys["read"]})
        shown = await site.http.get(f"/p/default/runs/{run.run_id}")
        assert shown.status_code == 200
        assert "Traceback" not in shown.text

    on_site(story)


def test_the_overview_names_what_the_calls_of_a_deployment_fail_for(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await signed_in(site)
        await keep(site, failed(2, 60, "ValueError"), failed(2, 5))
        ring = site.house.insight.recorder.rings.setdefault(
            VersionKey("default", "flow", 2), Ring()
        )
        ring.add(Point(calls=10, errors={"function_failed": 4}, time_ms=10.0), time.time())
        text = (await site.http.get("/p/default")).text
        assert "fails 40.00 % of calls" in text
        assert "KeyError in pre of stage 1." in text

    on_site(story)
