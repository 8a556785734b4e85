"""Options that many commands share, and the project they act on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from penstock.client.endpoint import Endpoint
from penstock.client.session import Session
from penstock.client.targets import session_of
from penstock.core.errors import PenstockError


def _names(incomplete: str) -> list[str]:
    """Return the deployments that a name may become; none when no server can be asked."""
    try:
        found = place(None, None).get("")["deployments"]
    except PenstockError:
        return []
    return [one["name"] for one in found if one["name"].startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="Name of the deployment.", autocompletion=_names)]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Project; the key's own.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", help="Address of the server; that of the profile.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class Place:
    """A project on a server, and the way there."""

    session: Session
    project: str

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET below the project."""
        return self.session.get(f"/v1/{self.project}{path}")

    def endpoint(self, name: str) -> Endpoint:
        """Return a deployment's endpoint; it finds the key itself."""
        return Endpoint(f"{self.session.server}/v1/{self.project}/{name}/predict")


def place(project: str | None, server: str | None) -> Place:
    """Return the project that a command acts on.

    Raises:
        NoKey, InvalidSetting, ServerUnreachable: It cannot be found out.
    """
    session, found = session_of(None, server, project)
    return Place(session, str(found))


def state_of(deployment: dict[str, Any]) -> str:
    """Return the state of a deployment for people: `unknown` has a version that never served."""
    return "never ready" if deployment["state"] == "unknown" else str(deployment["state"])


def when(at: float | None) -> str:
    """Return a time for people, in the local zone."""
    return "–" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def milliseconds(value: float | None) -> str:
    """Return a length of time in milliseconds, for people."""
    return "–" if value is None else f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"
