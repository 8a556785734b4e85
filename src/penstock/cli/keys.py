"""`penstock keys`: list, create and revoke the API keys of a project."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from penstock.cli.options import JsonOption, YesOption
from penstock.cli.output import say
from penstock.cli.tables import print_json
from penstock.client import keys as client
from penstock.core.records import Scope

Project = Annotated[str | None, typer.Option(help="Project; the key's own by default.")]
Server = Annotated[str | None, typer.Option(help="Address of the server.")]

_DAY_S = 86400.0

app = typer.Typer(help="API keys of a project.")


@app.command("create")
def create(
    scope: Annotated[Scope, typer.Argument(help="What it may do.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    deployment: Annotated[
        list[str] | None, typer.Option(help="Only this deployment; may be given several times.")
    ] = None,
    expires_days: Annotated[float | None, typer.Option(help="Days until it stops working.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second it may make.")] = None,
    project: Project = None,
    server: Server = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown this once."""
    made = client.create(
        scope,
        label=label,
        deployments=deployment or None,
        expires_in_s=None if expires_days is None else expires_days * _DAY_S,
        rate_per_s=rate,
        project=project,
        server=server,
    )
    if as_json:
        print_json(made)
        return
    say(str(made["key"]))
    say(f"  id {made['key_id']}; it is shown this once.")


@app.command("list")
def list_keys(project: Project = None, server: Server = None, as_json: JsonOption = False) -> None:
    """List keys: prefix, scope, what it is for, last use."""
    found = client.list_keys(project=project, server=server)
    if as_json:
        print_json(found)
        return
    for key in found:
        say(f"{key['key_id']}  {key['prefix']:<20} {key['scope']:<8} {_state(key)}")


def _state(key: dict[str, Any]) -> str:
    parts = [str(key["label"])] if key["label"] else []
    if key["revoked_at"] is not None:
        parts.append("revoked")
    elif key["expires_at"] is not None:
        parts.append(
            f"{'expired' if key['expires_at'] < time.time() else 'expires'} "
            f"{_when(key['expires_at'])}"
        )
    if key["deployments"] is not None:
        parts.append(f"only {', '.join(key['deployments'])}")
    used = key["last_used_at"]
    parts.append("never used" if used is None else f"last used {_when(used)}")
    return "; ".join(parts)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `penstock keys list` shows it.")],
    yes: YesOption = False,
    project: Project = None,
    server: Server = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. It is refused at once, by every gateway."""
    if not yes:
        typer.confirm(f"Revoke the key {key_id}? This cannot be undone.", abort=True)
    gone = client.revoke(key_id, project=project, server=server)
    if as_json:
        print_json(gone)
    else:
        say(f"Revoked {gone['prefix']}.")
