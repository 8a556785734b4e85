"""`penstock login`: ask for a server and a key, check them there, and remember them.

`cli.main` makes the keyword arguments of `login` into the options of the command.
"""

from __future__ import annotations

import getpass
from typing import Any

from penstock.cli.options import JsonOption
from penstock.cli.tables import print_json
from penstock.client.config import (
    Target,
    check_key,
    check_server,
    resolve_server,
    write_profile,
)
from penstock.client.session import Session


def login(server: str | None = None, key: str | None = None, as_json: JsonOption = False) -> None:
    """Check a key with its server and save both to the profile, readable by you only.

    Args:
        server: Address of the server; asked for when missing.
        key: API key; asked for without showing it when missing.
        as_json: Print who the key is, and where it was saved, as JSON.
    """
    address = check_server(server or _ask_server())
    secret = check_key(key or getpass.getpass("API key (not shown): "))
    who = _whoami(Target(server=address, api_key=secret))
    project = who.get("project")
    path = write_profile(server=address, api_key=secret, project=project)
    if as_json:
        print_json({"server": address, **who, "profile": str(path)})
        return
    where = f"project {project}" if project else "every project"
    print(f"Logged in to {address}: {where}, scope {who.get('scope')}.")
    print(f"Saved to {path}.")


def _ask_server() -> str:
    usual = resolve_server()
    return input(f"Server [{usual}]: ").strip() or usual


def _whoami(target: Target) -> dict[str, Any]:
    session = Session(target)
    try:
        found: dict[str, Any] = session.get("/v1/whoami")
    finally:
        session.close()
    return found
