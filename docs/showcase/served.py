"""Starts the server of a showcase and makes the key that its pictures are signed in with."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx2

from penstock import start


@contextlib.contextmanager
def served(folder: Path, port: int = 0) -> Iterator[tuple[str, str]]:
    """Yield address and a deploy key, called anna-laptop, of a fresh server."""
    admin = secrets.token_urlsafe(32)
    os.environ["PENSTOCK_PROFILE"] = str(folder / "profile.json")
    os.environ["PENSTOCK_ADMIN_KEY"] = admin
    with start(data=folder / "server", port=port) as server:
        body = {"scope": "deploy", "label": "anna-laptop"}
        made = httpx2.post(
            f"{server.url}/v1/default/keys", json=body, headers={"Authorization": admin}
        )
        yield server.url, made.json()["key"]
