"""The page at `/`: sign in with a key, then see the deployments. Read only.

Made by `penstock.wiring.assembly`, which gives its routes to the application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from penstock.control.deployments import Deployments
from penstock.control.keys import Keys
from penstock.core.errors import Forbidden, PenstockError, Unauthorized
from penstock.core.records import KeyRecord
from penstock.dashboard.rows import row_of
from penstock.dashboard.sessions import Sessions, check_same_origin, read_form

_HERE = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Dashboard:
    """The pages and what they show.

    Args:
        keys: Checks who signs in.
        deployments: What is shown.
        version: Penstock's version.
        url: Address that clients reach the server by.
    """

    def __init__(self, keys: Keys, deployments: Deployments, version: str, url: str) -> None:
        self._sessions = Sessions(keys)
        self._deployments = deployments
        self._url = url
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True
        )
        self._templates.globals.update(version=version, host=url.partition("://")[2])
        self._style = (_HERE / "static" / "penstock.css").read_bytes()

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the pages."""
        return [
            Route("/", _guarded(self.front)),
            Route("/sign-in", _guarded(self.sign_in), methods=["POST"]),
            Route("/sign-out", _guarded(self.sign_out), methods=["POST"]),
            Route("/penstock.css", self.style),
        ]

    async def front(self, request: Request) -> Response:
        """Answer the deployments, or the form to sign in."""
        key = await self._sessions.key_of(request)
        if key is None:
            return self._page("sign_in.html")
        return self._page("deployments.html", key=key, rows=await self._rows(key))

    async def _rows(self, key: KeyRecord) -> list[Any]:
        found = await self._deployments.list(key.project)
        return [row_of(d) for d in found if key.grants(d.name)]

    async def sign_in(self, request: Request) -> Response:
        """Take the key of the form and begin a session."""
        check_same_origin(request)
        fields = parse_qs((await read_form(request)).decode("utf-8", "replace"))
        answer = RedirectResponse("/", 303, headers=HEADERS)
        try:
            key = fields.get("key", [""])[0]
            self._sessions.sign_in(key, answer, secure=self._url.startswith("https:"))
        except (Unauthorized, Forbidden) as error:
            return self._page("sign_in.html", status=403, problem=error.message)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        check_same_origin(request)
        answer = RedirectResponse("/", 303, headers=HEADERS)
        self._sessions.sign_out(request, answer)
        return answer

    async def style(self, _request: Request) -> Response:
        """Answer the one style sheet."""
        headers = {**HEADERS, "Cache-Control": "max-age=300"}
        return Response(self._style, media_type="text/css", headers=headers)

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(**values)
        return HTMLResponse(text, status, headers=HEADERS)


def _guarded(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Answer our own errors as a line of text."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except PenstockError as error:
            status = 403 if isinstance(error, Forbidden) else 500
            return Response(str(error), status, media_type="text/plain", headers=HEADERS)

    return guarded
