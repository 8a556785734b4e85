"""`penstock secrets`: set, list, delete the secrets of a project; encrypt them with a new key."""

from __future__ import annotations

import getpass
import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from penstock.cli.options import JsonOption, YesOption
from penstock.cli.output import say
from penstock.cli.tables import print_json
from penstock.client import secrets as client

Project = Annotated[str | None, typer.Option(help="Project; the key's own by default.")]
Server = Annotated[str | None, typer.Option(help="Address of the server.")]

app = typer.Typer(help="Secrets of a project, which functions read with get_secret.")


@app.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(help="Name, for example PAYMENTS_TOKEN.")],
    project: Project = None,
    server: Server = None,
    as_json: JsonOption = False,
) -> None:
    """Set a secret. Its value is asked for without showing it, or read from a pipe."""
    created = client.set(name, _value(name), project=project, server=server)
    if as_json:
        print_json({"name": name, "created": created})
        return
    say(f"{'Set' if created else 'Changed'} {name}. Workers that declare it see it in seconds.")


def _value(name: str) -> str:
    """Return the value: never from the command line, which everybody on the machine can read."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name} (not shown): ")
    return sys.stdin.read().removesuffix("\n")


@app.command("list")
def list_secrets(
    project: Project = None, server: Server = None, as_json: JsonOption = False
) -> None:
    """List the names; values are never shown."""
    found = client.list(project=project, server=server)
    if as_json:
        print_json([asdict(secret) for secret in found])
        return
    for secret in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(secret.updated_at))
        say(f"{secret.name:<32} set {when} by {secret.updated_by}")
    if not found:
        say("There are no secrets.")


@app.command("delete")
def delete_secret(
    name: Annotated[str, typer.Argument(help="Name.")],
    yes: YesOption = False,
    project: Project = None,
    server: Server = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a secret."""
    if not yes:
        typer.confirm(f"Delete the secret {name}? Functions that read it fail then.", abort=True)
    client.delete(name, project=project, server=server)
    if as_json:
        print_json({"deleted": name})
    else:
        say(f"Deleted {name}.")


@app.command("rotate")
def rotate(server: Server = None, as_json: JsonOption = False) -> None:
    """Encrypt every secret of the server with a new key. Needs an admin key."""
    count = client.rotate(server=server)
    if as_json:
        print_json({"values": count})
    else:
        say(f"{count} values are encrypted with a new key.")
