"""`penstock config`: which server and key commands and Python client use, and from where."""

from __future__ import annotations

import os

from penstock.cli.options import JsonOption
from penstock.cli.tables import print_facts, print_json
from penstock.client.config import DEFAULT_SERVER, profile_path, read_profile, resolve_server


def config(as_json: JsonOption = False) -> None:
    """Show the server, the beginning of the key, and where both come from. Never the whole key."""
    profile = read_profile()
    key = os.environ.get("PENSTOCK_API_KEY") or profile.api_key
    found = {
        "server": resolve_server(),
        "server_from": _source("PENSTOCK_SERVER", profile.server),
        "key": f"{key[:13]}…" if key else None,
        "key_from": _source("PENSTOCK_API_KEY", profile.api_key) if key else None,
        "project": profile.project,
        "profile": str(profile_path()),
        "default_server": DEFAULT_SERVER,
    }
    if as_json:
        print_json(found)
    else:
        print_facts((name.replace("_", " "), str(value or "–")) for name, value in found.items())


def _source(variable: str, in_profile: str | None) -> str:
    if os.environ.get(variable):
        return f"the environment ({variable})"
    return "the profile" if in_profile else "the default"
