"""One request of a signed-in person: who it is, in which project, and what the page needs.

Made by `site` for every page; the page modules take it and return what to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import Request

from penstock.core.errors import Forbidden
from penstock.core.records import KeyRecord, Scope
from penstock.dashboard.sessions import read_form


@dataclass(frozen=True)
class Page:
    """What a handler wants shown: a template and its values.

    Attributes:
        template: File name below `templates`.
        values: What the template sees beside the frame's own values.
        part: The template of a part of the page, if only that is wanted.
        status: HTTP status.
    """

    template: str
    values: Mapping[str, Any]
    part: str = ""
    status: int = 200


@dataclass(frozen=True)
class Go:
    """What a handler wants done next: show another page, with a message on it."""

    address: str
    message: str = ""
    undo: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Visit:
    """A signed-in request.

    Attributes:
        request: The request.
        key: The key of the session.
        project: Name of the project in the address.
        csrf: The word its forms must carry.
        labels: What keys are called, by their id.
    """

    request: Request
    key: KeyRecord
    project: str
    csrf: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_deploy(self) -> bool:
        """Whether the person may change what serves."""
        return self.key.allows(Scope.DEPLOY, self.project)

    @property
    def may_predict(self) -> bool:
        """Whether the person may call endpoints."""
        return self.key.allows(Scope.PREDICT, self.project)

    def sees(self, deployment: str) -> bool:
        """Whether the key is for this deployment: some keys are for a few of them only."""
        return self.key.grants(deployment)

    @property
    def base(self) -> str:
        """Beginning of the addresses of the project's pages."""
        return f"/p/{quote(self.project, safe='')}"

    @property
    def name(self) -> str:
        """Name of the deployment in the address."""
        return str(self.request.path_params["name"])

    def of(self, name: str, *more: str) -> str:
        """Return the address of a deployment's page."""
        return "/".join([f"{self.base}/d/{quote(name, safe='')}", *more])

    def query(self, name: str, default: str = "") -> str:
        """Return a parameter of the address."""
        return self.request.query_params.get(name, default)

    def part(self, target: str, template: str) -> str:
        """Return `template` if htmx asks for the element with this id only, else nothing."""
        asked = self.request.headers.get("hx-target", "").partition("#")[2]
        return template if asked == target else ""

    def who(self, key_id: str) -> str:
        """Return what the key of this id is called."""
        return self.labels.get(key_id, key_id)

    def require(self, scope: Scope) -> None:
        """Refuse a person whose key has not this scope. Raises `Forbidden`."""
        if not self.key.allows(scope, self.project):
            raise Forbidden(
                f"The key {self.key.label or self.key.prefix} may not do this; it needs "
                f"{scope.value} scope.",
                hint="Sign in with another key.",
            )

    async def form(self) -> dict[str, str]:
        """Return the fields of the form that was sent."""
        sent = getattr(self.request.state, "form", None)
        raw = await read_form(self.request) if sent is None else sent
        fields = parse_qs(raw.decode("utf-8", "replace"), True)
        return {name: values[-1] for name, values in fields.items()}
