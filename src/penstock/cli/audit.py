"""`penstock audit`: who changed what, newest first."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from penstock.cli.output import say
from penstock.client.keys import audit_log


def audit(
    limit: Annotated[int, typer.Option(help="Most entries to show.", min=1, max=1000)] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole server; needs an admin key.")
    ] = False,
    project: Annotated[str | None, typer.Option(help="Project; the key's own by default.")] = None,
    server: Annotated[str | None, typer.Option(help="Address of the server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an entry a line.")] = False,
) -> None:
    """Show who changed what in a project, newest first."""
    for entry in audit_log(limit, everything=everything, project=project, server=server):
        if as_json:
            say(json.dumps(entry))
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
        how = "" if entry["status"] < 400 else f"  refused ({entry['status']})"
        how = how if entry["status"] else "  unfinished: the server ended meanwhile"
        details = " ".join(f"{k}={v}" for k, v in entry["details"].items() if v)
        who = f"{entry['actor']} {entry['address']}".strip()
        say(f"{when}  {entry['action']:<18} {entry['target']}  by {who}{how}  {details}".rstrip())
