"""Webhooks over HTTP: the log, sending again, the secret, and who may see them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.names import new_run_id
from penstock.core.run_records import NewRun, Payload

Run = Callable[..., None]


async def end_run(site: Any, url: str = "https://hooks.example/x") -> str:
    run_id, now, runs = new_run_id(), time.time(), site.house.database.records.runs
    payload = Payload(b"[]", None, 2)
    new = NewRun(
        run_id, "default", "flow", "key", now, "application/json", payload, webhook_url=url
    )
    await site.house.database.call(runs.add, [new])
    await site.house.database.call(runs.cancel, run_id, now)
    return run_id


def test_deliveries_are_listed_shown_and_sent_again(on_site: Run) -> None:
    async def story(site: Any) -> None:
        ids = [await end_run(site) for _ in range(3)]
        path = "/v1/default/webhooks/deliveries"
        page = (await site.call("GET", f"{path}?limit=2")).json()
        assert [d["run_id"] for d in page["deliveries"]] == ids[:0:-1]
        rest = (await site.call("GET", f"{path}?limit=2&before={page['before']}")).json()
        assert [d["run_id"] for d in rest["deliveries"]] == ids[:1]
        assert rest["before"] is None
        (one,) = (await site.call("GET", f"{path}?run_id={ids[0]}&state=pending")).json()[
            "deliveries"
        ]
        shown = (await site.call("GET", f"{path}/{one['id']}")).json()
        assert (shown["delivery"], shown["attempts"]) == (one, [])
        again = await site.call("POST", f"{path}/{one['id']}/redeliver")
        assert (again.status_code, again.json()["state"]) == (202, "pending")

    on_site(story)


def test_deliveries_are_called_off_alone_and_by_their_receiver(on_site: Run) -> None:
    async def story(site: Any) -> None:
        for path in ("x", "y", "z"):
            await end_run(site, f"https://hooks.example/{path}")
        await end_run(site, "https://hooks.example.org/x")
        path = "/v1/default/webhooks/deliveries"

        async def states() -> list[str]:
            return [d["state"] for d in (await site.call("GET", path)).json()["deliveries"]]

        newest = (await site.call("GET", path)).json()["deliveries"][0]["id"]
        told = await site.call("POST", f"{path}/{newest}/cancel")
        assert (told.status_code, told.json()["state"]) == (200, "cancelled")
        assert await states() == ["cancelled", "pending", "pending", "pending"]
        receiver = {"url": "https://HOOKS.example:443"}
        told = await site.call("POST", f"{path}/cancel", json=receiver)
        assert (told.status_code, told.json()) == (200, {"cancelled": 3})
        assert await states() == ["cancelled"] * 4
        again = await site.call("POST", f"{path}/{newest}/redeliver")
        assert again.json()["state"] == "pending"

    on_site(story)


def test_a_delivery_is_called_off_and_sent_again_on_its_page(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await end_run(site)
        await site.http.post("/sign-in", data={"key": site.keys["deploy"]})
        found = (await site.call("GET", "/v1/default/webhooks/deliveries")).json()["deliveries"]
        path = f"/p/default/webhooks/{found[0]['id']}"
        page = (await site.http.get(path)).text
        assert "Send no more" in page
        word = re.search(r'<meta name="csrf" content="(\w+)"', page)
        assert word is not None
        await site.http.post(f"{path}/cancel", data={"csrf": word[1]})
        page = (await site.http.get(path)).text
        assert "Cancelled" in page
        assert "Send no more" not in page
        assert f'action="{path}/redeliver"' in page
        await site.http.post(f"{path}/redeliver", data={"csrf": word[1]})
        again = (await site.call("GET", f"/v1/default/webhooks/deliveries/{found[0]['id']}")).json()
        assert again["delivery"]["state"] == "pending"

    on_site(story)


def test_the_secret_is_shown_once_and_replaced_by_post(on_site: Run) -> None:
    async def story(site: Any) -> None:
        path = "/v1/default/webhooks/secret"
        first = await site.call("GET", path)
        assert first.json()["secret"].startswith("whsec_")
        assert first.headers["cache-control"] == "no-store"
        again = await site.call("GET", path)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
        new = await site.call("POST", path)
        assert new.status_code == 201
        assert new.json()["secret"] != first.json()["secret"]
        assert (await site.call("GET", "/v1/other/webhooks/secret", "admin")).status_code == 404

    on_site(story)


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/secret", "predict", 403),
        ("POST", "/secret", "predict", 403),
        ("GET", "/secret", "", 401),
        ("GET", "/deliveries", "predict", 403),
        ("GET", "/deliveries", "deploy", 200),
        ("GET", "/deliveries?state=lost", "deploy", 422),
        ("GET", "/deliveries?limit=0", "deploy", 422),
        ("GET", "/deliveries?limit=many", "deploy", 422),
        ("GET", "/deliveries?before=msg_none", "deploy", 404),
        ("GET", "/deliveries/msg_none", "deploy", 404),
        ("POST", "/deliveries/msg_none/redeliver", "deploy", 404),
        ("POST", "/deliveries/msg_none/redeliver", "predict", 403),
        ("POST", "/deliveries/msg_none/cancel", "deploy", 404),
        ("POST", "/deliveries/msg_none/cancel", "predict", 403),
        ("POST", "/deliveries/cancel", "predict", 403),
    ],
)
def test_who_may_see_what(on_site: Run, method: str, path: str, key: str, status: int) -> None:
    async def story(site: Any) -> None:
        answer = await site.call(method, f"/v1/default/webhooks{path}", key)
        assert answer.status_code == status, answer.text

    on_site(story)
