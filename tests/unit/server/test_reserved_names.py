"""Names that are words of the API's own addresses: refused as new ones, kept where they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from penstock.core import names
from penstock.core.errors import InvalidName
from penstock.core.names import check_deployment_name, check_project_name

Run = Callable[..., None]


def shape(parts: list[str]) -> tuple[str, ...]:
    """Return the beginning of a path, whatever its parameters are called."""
    return tuple("{}" if part.startswith("{") else part for part in parts)


def words_for(parameter: str, paths: set[str]) -> set[str]:
    """Return the words that stand where another path has `parameter`, and could be its value."""
    split = [path.strip("/").split("/") for path in paths]
    places = {shape(p[:n]) for p in split for n, part in enumerate(p) if part == parameter}
    found = {p[n] for p in split for n in range(len(p)) if shape(p[:n]) in places}
    return {word for word in found if re.fullmatch(r"[a-z0-9-]{1,20}", word)}


def test_every_word_of_an_address_is_reserved_where_a_name_could_stand(on_site: Run) -> None:
    async def story(site: Any) -> None:
        paths = {route.path for route in site.house.app.routes}
        for parameter, check, least in (
            ("{project}", check_project_name, {"status", "whoami", "keys"}),
            ("{name}", check_deployment_name, {"traffic", "runs", "files"}),
        ):
            words = words_for(parameter, paths)
            assert least <= words
            for word in words:
                with pytest.raises(InvalidName, match="reserved word"):
                    check(word)

    on_site(story)


def test_no_new_deployment_or_project_gets_a_reserved_name(on_site: Run) -> None:
    async def story(site: Any) -> None:
        body = {"manifest": site.manifest()}
        answer = await site.call("POST", "/v1/default/traffic/versions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_name")
        made = await site.call("POST", "/v1/projects", "admin", json={"name": "status"})
        assert (made.status_code, made.json()["error"]["code"]) == (400, "invalid_name")

    on_site(story)


def test_a_deployment_that_had_the_name_before_serves_on_until_its_page_deletes_it(
    on_site: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(site: Any) -> None:
        with monkeypatch.context() as before:
            before.setattr(names, "RESERVED_DEPLOYMENT_NAMES", frozenset())
            await site.deploy("traffic")
        assert (await site.deploy("traffic"))[-1]["version"]["number"] == 2
        grant = {"scope": "predict", "deployments": ["traffic"]}
        site.keys["own"] = (await site.call("POST", "/v1/default/keys", json=grant)).json()["key"]
        answer = await site.call("POST", "/v1/default/traffic/predict", "own", json=[1])
        assert answer.json() == {"result": [1]}
        assert (await site.call("DELETE", "/v1/default/traffic")).status_code == 405
        await by_hand(site, "settings", max_replicas="2")
        await by_hand(site, "delete", typed="traffic")
        assert (await site.call("GET", "/v1/default")).json() == {"deployments": []}
        body = {"manifest": site.manifest()}
        again = await site.call("POST", "/v1/default/traffic/versions", json=body)
        assert again.json()["error"]["code"] == "invalid_name"

    on_site(story)


async def by_hand(site: Any, what: str, **fields: str) -> None:
    """Send a form of the deployment's pages."""
    await site.http.post("/sign-in", data={"key": site.keys["deploy"]})
    page = await site.http.get("/p/default/d/traffic")
    word = re.search(r'<meta name="csrf" content="(\w+)"', page.text)
    assert word is not None
    form = {"csrf": word[1], **fields}
    answer = await site.http.post(f"/p/default/d/traffic/{what}", data=form)
    assert answer.status_code == 303, answer.text
