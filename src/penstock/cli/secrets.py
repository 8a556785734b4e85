"""`penstock secrets`: set, list, delete the secrets of a project; encrypt them with a new key."""

from __future__ import annotations

import getpass
import sys
import time
from typing import Annotated

import typer

from penstock.cli.output import say
from penstock.client import secrets as client

Project = Annotated[str | None, typer.Option(help="Project; the key's own by default.")]
Server = Annotated[str | None, typer.Option(help="Address of the server.")]

app = typer.Typer(help="Secrets of a project, which functions read with get_secret.")


@app.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(help="Name, for example PAYMENTS_TOKEN.")],
    project: Project = None,
    server: Server = None,
) -> None:
    """Set a secret. Its value is asked for without showing it, or read from a pipe."""
    created = client.set(name, _value(name), project=project, server=server)
    say(f"{'Set' if created else 'Changed'} {name}. Workers that declare it see it in seconds.")


def _value(name: str) -> str:
    """Return the value: never from the command line, which everybody on the machine can read."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name} (not shown): ")
    return sys.stdin.read().removesuffix("\n")


@app.command("list")
def list_secrets(project: Project = None, server: Server = None) -> None:
    """List the names; values are never shown."""
    found = client.list(project=project, server=server)
    for secret in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(secret.updated_at))
        say(f"{secret.name:<32} set {when} by {secret.updated_by}")
    if not found:
        say("There are no secrets.")


@app.command("delete")
def delete_secret(
    name: Annotated[str, typer.Argument(help="Name.")],
    project: Project = None,
    server: Server = None,
) -> None:
    """Delete a secret."""
    client.delete(name, project=project, server=server)
    say(f"Deleted {name}.")


@app.command("rotate")
def rotate(server: Server = None) -> None:
    """Encrypt every secret of the server with a new key. Needs an admin key."""
    say(f"{client.rotate(server=server)} values are encrypted with a new key.")
