"""Debian's Chromium under Playwright, for tests that look at the pages as people do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_chromium = pytest.mark.skipif(
    chromium() is None, reason="no Chromium: sudo apt-get install chromium"
)


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """Yield a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Any, url: str, key: str) -> None:
    """Sign in with a key and wait for the overview."""
    page.goto(url + "/")
    page.fill("#key", key)
    page.click("button[type=submit]")
    page.wait_for_selector("h1:has-text('Deployments')")
