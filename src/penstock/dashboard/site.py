"""Joins the pages: routes, who may see them, how they are rendered, what browsers may do with them.

Made by `penstock.wiring.assembly`, which gives `routes()` to the application.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from penstock.core.errors import Forbidden, InternalError, NotFound, PenstockError, Unauthorized
from penstock.core.records import KeyRecord
from penstock.dashboard import colour, words
from penstock.dashboard.assets import Assets
from penstock.dashboard.pages import OF_THE_PROJECT, PAGES, Handler
from penstock.dashboard.parts import Parts
from penstock.dashboard.sessions import Ended, Sessions, check_same_origin, read_form
from penstock.dashboard.visit import Go, Page, Visit

log = logging.getLogger("penstock.dashboard")

_DEFECT = InternalError("The page could not be made.", hint="The server's log has the details.")

_TEMPLATES = Path(__file__).parent / "templates"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

#: Cookie with a message that the next page shows.
_NEWS = "penstock_news"

#: Cookie of the reader's choice of light or dark; a script sets it.
_THEME = "penstock_theme"

_SAFE = frozenset({"GET", "HEAD"})


class Dashboard:
    """All pages.

    Args:
        parts: What they show and act on.
        secret: Key that sessions are signed with.
        ended: The sessions that were signed out of.
    """

    def __init__(self, parts: Parts, secret: bytes, ended: Ended) -> None:
        self._parts = parts
        self._sessions = Sessions(parts.keys, secret, ended)
        self._assets = Assets()
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.filters.update(words.FILTERS)
        self._templates.filters.update(colour.FILTERS)
        self._templates.globals.update(
            asset=self._assets.url,
            version=parts.version,
            url=parts.url,
            address=parts.url.partition("://")[2],
            host=_host(parts.url),
        )

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the pages."""
        return [
            Route("/", self._open(self._front)),
            Route("/sign-in", self._open(self._sign_in), methods=["POST"]),
            Route("/sign-out", self._open(self._sign_out), methods=["POST"]),
            self._assets.route(),
            *(
                Route(f"/p/{{project}}{path}", self._page(handler), methods=[method])
                for method, path, handler in PAGES
            ),
        ]

    # --- without a project ---

    async def _front(self, request: Request) -> Response:
        key = self._sessions.key_of(request)
        if key is None:
            return self._enter(request)
        return self._redirect(f"/p/{quote(await self._home(key), safe='')}")

    async def _home(self, key: KeyRecord) -> str:
        if key.project is not None:
            return key.project
        return (await self._parts.projects.list())[0].name

    async def _sign_in(self, request: Request) -> Response:
        check_same_origin(request)
        fields = parse_qs((await read_form(request)).decode("utf-8", "replace"))
        answer = self._redirect(_inside(fields.get("next", ["/"])[0]))
        try:
            key = fields.get("key", [""])[0]
            secure = self._parts.url.startswith("https:")
            self._sessions.sign_in(key, answer, secure=secure, long="long" in fields)
        except (Unauthorized, Forbidden) as error:
            return self._enter(request, error.message, 403)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        check_same_origin(request)
        answer = self._redirect("/")
        self._sessions.sign_out(request, answer)
        return answer

    def _enter(self, request: Request, problem: str = "", status: int = 200) -> Response:
        path = request.url.path
        values = {"problem": problem, "next": path if path.startswith("/p/") else "/"}
        return self._render(Page("sign_in.html", values, status=status), request, None)

    # --- pages of a project ---

    def _page(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            key = self._sessions.key_of(request)
            if key is None:
                if request.method not in _SAFE:
                    raise Forbidden("Nobody is signed in.", hint="Sign in, then try again.")
                return self._enter(request, status=401 if _is_script(request) else 200)
            visit = await self._visit(request, key)
            if handler in OF_THE_PROJECT and key.deployments is not None:
                raise Forbidden(
                    f"The key {key.label or key.prefix} is for {', '.join(key.deployments)} only.",
                    hint="Sign in with a key of the whole project.",
                )
            if request.method in _SAFE:
                return self._respond(await handler(visit, self._parts), visit)
            check_same_origin(request)
            await self._check_form(request)
            return await self._change(handler, visit)

        return self._open(answer)

    async def _change(self, handler: Handler, visit: Visit) -> Response:
        """Let a form do what it asks for, and note it in the audit log."""
        request = visit.request
        address = request.client.host if request.client is not None else ""
        path = request.url.path.removeprefix("/p/")
        name = getattr(handler, "__name__", "")
        async with self._parts.audit.change(
            visit.key, visit.project, address, name, path
        ) as change:
            try:
                answer = self._respond(await handler(visit, self._parts), visit)
                change.status = answer.status_code
            except PenstockError as error:
                change.status = self._parts.status_of(error.code)
                raise
        return answer

    async def _visit(self, request: Request, key: KeyRecord) -> Visit:
        project = request.path_params["project"]
        if key.project not in {None, project}:
            raise NotFound(f"This key sees no project {project!r}.")
        await self._parts.projects.get(project)
        labels = {k.key_id: k.label or k.prefix for k in await self._parts.keys.list()}
        visit = Visit(request, key, project, self._sessions.csrf_of(request), labels)
        name = request.path_params.get("name")
        if name is not None and not visit.sees(name):
            raise NotFound(f"This key sees no deployment {name!r}.")
        return visit

    async def _check_form(self, request: Request) -> None:
        given = request.headers.get("x-csrf") or request.query_params.get("csrf")
        if given is None:
            request.state.form = await read_form(request)
            fields = parse_qs(request.state.form.decode("utf-8", "replace"))
            given = fields.get("csrf", [""])[0]
        self._sessions.check_csrf(request, given)

    def _respond(self, outcome: Any, visit: Visit) -> Response:
        if isinstance(outcome, Response):
            outcome.headers.update({k: v for k, v in HEADERS.items() if k not in outcome.headers})
            return outcome
        if isinstance(outcome, Go):
            return self._go(outcome)
        if isinstance(outcome, Page):
            return self._render(outcome, visit.request, visit)
        return JSONResponse(outcome, headers=HEADERS)

    def _go(self, outcome: Go) -> Response:
        answer = self._redirect(outcome.address)
        if outcome.message:
            news = {"text": outcome.message, "undo": outcome.undo, "failed": outcome.failed}
            answer.set_cookie(
                _NEWS,
                quote(json.dumps(news)),
                max_age=60,
                path="/",
                samesite="strict",
                httponly=True,
            )
        return answer

    def _redirect(self, address: str) -> RedirectResponse:
        return RedirectResponse(address, 303, headers=HEADERS)

    def _render(self, page: Page, request: Request, visit: Visit | None) -> Response:
        template = self._templates.get_template(page.part or page.template)
        theme = request.cookies.get(_THEME, "")
        values = {
            "visit": visit,
            "theme": theme if theme in {"light", "dark"} else "",
            "news": _news(request),
            "now": time.time(),
            **page.values,
        }
        answer = HTMLResponse(template.render(values), page.status, headers=HEADERS)
        if values["news"] and not page.part:
            answer.delete_cookie(_NEWS, path="/")
        return answer

    def _open(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Answer our own errors as a page, or as a line of text for a script."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads this
            except PenstockError as error:
                return await self._problem(request, error)
            except Exception:
                log.exception("%s %s failed.", request.method, request.url.path)
                return await self._problem(request, _DEFECT)

        return guarded

    async def _problem(self, request: Request, error: PenstockError) -> Response:
        status = self._parts.status_of(error.code)
        if _is_script(request):
            return Response(error.message, status, media_type="text/plain", headers=HEADERS)
        page = Page("problem.html", {"error": error}, status=status)
        return self._render(page, request, await self._seen(request))

    async def _seen(self, request: Request) -> Visit | None:
        """Return the visit for an error's page, if somebody is signed in where they may be."""
        key = self._sessions.key_of(request)
        if key is None or "project" not in request.path_params:
            return None
        try:
            return await self._visit(request, key)
        except PenstockError:
            return None


def _is_script(request: Request) -> bool:
    return "hx-request" in request.headers or "x-csrf" in request.headers


def _inside(address: str) -> str:
    """Return an address of this site, whatever was asked for."""
    plain = address.isprintable() and not any(s in address for s in ("\\", "//"))
    return address if plain and address.startswith("/p/") else "/"


def _news(request: Request) -> dict[str, Any] | None:
    try:
        found = json.loads(unquote(request.cookies.get(_NEWS, "")))
        return {
            "text": str(found["text"]),
            "undo": str(found.get("undo", "")),
            "failed": bool(found.get("failed")),
        }
    except (ValueError, TypeError, KeyError):
        return None


def _host(url: str) -> str:
    """Return what people call the machine."""
    name = url.partition("://")[2].partition(":")[0].partition("/")[0]
    return platform.node() if name in {"127.0.0.1", "localhost", "[", "0.0.0.0", ""} else name  # noqa: S104
