"""Markup in what people and callers name, write, print or send is shown as text, in a browser."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from browser import browsing, needs_chromium, sign_in

from penstock import PenstockError, deploy, model_type

pytestmark = [needs_chromium, pytest.mark.timeout(900)]

#: Runs, if a page takes it for markup: as an element, out of an attribute, out of a script.
HOSTILE = "</script></textarea></title><img src=x onerror=window.taken=1>'\"><svg onload=taken=1>"

PAGES = (
    "", "/runs", "/files", "/webhooks", "/keys", "/secrets", "/settings", "/d/marked",
    "/d/marked/runs", "/d/marked/versions", "/d/marked/code", "/d/marked/builds",
    "/d/marked/playground", "/d/marked/settings", "/d/marked/monitoring",
)  # fmt: skip

#: Tells whether anything ran, or stands in the page as an element of its own.
TAKEN = "() => Boolean(window.taken) || document.querySelector('img[src=x], svg[onload]') !== null"


def same(value: Any) -> Any:
    return value


def marked(data: Any, files: Any) -> Any:
    said = "</script></textarea></title><img src=x onerror=window.taken=1>'\"><svg onload=taken=1>"
    print(said)
    if data:
        raise ValueError(said)
    return {said: [file.name for file in files]}


def marked_in_words(data: Any, files: Any) -> Any:
    """Change a line, so that there is a difference to show: <img src=x onerror=window.taken=1>."""
    print("<img src=x onerror=window.taken=1>")
    return marked(data, files)


def fill(server: Any) -> list[str]:
    """Put the text wherever text may be put; return the addresses of the runs."""
    key = server.keys["deploy"]
    for function in (marked_in_words, marked):
        stages = [(model_type.PYTHON, same, {"pre": function})]
        endpoint = deploy(stages, "marked", key, server=server.url, quiet=True)
    good = endpoint.call([], [(HOSTILE, b"x")])
    with pytest.raises(PenstockError, match="onerror"):
        endpoint.predict([HOSTILE])
    failed = endpoint.submit([HOSTILE], idempotency_key="marked-1")
    failed.wait(60)
    headers = {"Authorization": key}
    named = {"scope": "predict", "label": HOSTILE}
    made = httpx2.post(f"{server.url}/v1/default/keys", headers=headers, json=named)
    assert made.status_code == 201, made.text
    return [f"/runs/{good.run_id}", f"/runs/{failed.run_id}"]


def test_markup_of_users_and_callers_is_text_on_every_page(server: Any) -> None:
    runs = fill(server)
    with browsing() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.set_default_timeout(120_000)
        sign_in(page, server.url, server.keys["deploy"])
        shown = set()
        for path in (*PAGES, *runs):
            page.goto(f"{server.url}/p/default{path}")
            if path.endswith("/code"):
                page.get_by_role("link").filter(has_text=re.compile(r"marked\s+pre")).click()
            page.wait_for_load_state("networkidle")
            assert not page.evaluate(TAKEN), path
            if "onerror=window.taken" in page.locator("body").inner_text():
                shown.add(path)
        context.close()
    assert {"/d/marked/code", "/keys", *runs} <= shown
