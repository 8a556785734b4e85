"""The Starlette application: every endpoint of the control API, and the pages given to it.

`build_app` is called by `penstock.wiring.server_process`. Predict calls normally never get here:
the gateway serves them and hands everything else to this application.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from penstock.core.errors import InternalError, MethodNotAllowed, NotFound, PenstockError
from penstock.core.names import new_run_id
from penstock.server.auth import require, sees_tracebacks
from penstock.server.endpoints import Endpoint, Parts
from penstock.server.errors import status_of
from penstock.server.gateway.respond import refusal, render
from penstock.server.openapi import describe_api
from penstock.server.routes import ENDPOINTS
from penstock.server.web_guard import WebGuard, WebOptions

log = logging.getLogger("penstock.server")


def build_app(
    parts: Parts, pages: Sequence[BaseRoute] = (), web: WebOptions | None = None
) -> Starlette:
    """Return the application.

    Args:
        parts: What the handlers act on.
        pages: Routes for people (the dashboard), served beside the API.
        web: What the operator says of browsers.
    """
    app = Starlette(
        routes=[*pages, *_routes(ENDPOINTS, parts)],
        exception_handlers={HTTPException: _no_such_page},
    )
    app.add_middleware(WebGuard, options=web or WebOptions(), refuse=error_answer)
    app.router.redirect_slashes = False
    app.state.description = msgspec.json.encode(describe_api(ENDPOINTS, parts.version, parts.url))
    return app


def _routes(endpoints: Iterable[Endpoint], parts: Parts) -> list[Route]:
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    ordered = sorted(by_path, key=_fixed_parts_first)
    return [
        Route(path, _Dispatch(by_path[path], parts), methods=None, include_in_schema=False)
        for path in ordered
    ]


def _fixed_parts_first(path: str) -> list[tuple[bool, str]]:
    return [(part.startswith("{"), part) for part in path.split("/")]


class _Dispatch:
    """The ASGI application of one path: picks the endpoint by method, checks the key, answers."""

    def __init__(self, by_method: Mapping[str, Endpoint], parts: Parts) -> None:
        self._by_method = by_method
        self._parts = parts

    async def __call__(self, scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        request = Request(scope, receive, send)  # type: ignore[arg-type]
        response = await self._answer(request)
        await response(scope, receive, send)  # type: ignore[arg-type]

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._handle(request)
        except PenstockError as error:
            return error_answer(request, error)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads this
        except Exception:
            run_id = new_run_id()
            log.exception("%s %s failed (run id %s).", request.method, request.url.path, run_id)
            defect = InternalError(
                "The server failed to answer.", hint="Its log has the details under the run id."
            )
            return error_answer(request, defect, run_id)

    async def _handle(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = self._by_method.get(method)
        if endpoint is None:
            raise _wrong_method(request, self._by_method)
        if endpoint.scope is not None and not endpoint.checks_key:
            request.state.key = require(
                request, self._parts.keys, endpoint.scope, checks_grant=endpoint.checks_grant
            )
        if not endpoint.is_audited:
            return await endpoint.handler(request, self._parts)
        return await self._audited(request, endpoint)

    async def _audited(self, request: Request, endpoint: Endpoint) -> Response:
        """Answer a request that may change something, and write down what became of it."""
        async with self._parts.audit.change(
            request.state.key,
            request.path_params.get("project"),
            request.client.host if request.client is not None else "",
            endpoint.handler.__name__,
            request.url.path.removeprefix("/v1/"),
        ) as change:
            try:
                response = await endpoint.handler(request, self._parts)
                change.status = response.status_code
            except PenstockError as error:
                change.status = status_of(error)
                raise
            finally:
                change.details = getattr(request.state, "audit", {})
        return response


def _wrong_method(request: Request, known: Iterable[str]) -> MethodNotAllowed:
    methods = sorted({*known, *(["HEAD"] if "GET" in known else [])})
    return MethodNotAllowed(
        f"{request.url.path} does not take {request.method}; it takes {', '.join(methods)}.",
        allow=methods,
    )


def error_answer(request: Request, error: PenstockError, run_id: str | None = None) -> Response:
    """Return the answer that tells of an error, in the one shape all errors have."""
    shows = sees_tracebacks(request)
    rendered = render(refusal(error), run_id or new_run_id(), with_traceback=shows)
    response = Response(bytes(rendered.body), rendered.status)
    response.raw_headers = list(rendered.headers)
    if isinstance(error, MethodNotAllowed) and "allow" in error.facts:
        response.headers["allow"] = ", ".join(error.facts["allow"])
    return response


async def _no_such_page(request: Request, _error: Exception) -> Response:
    return error_answer(request, NotFound(f"There is no page at {request.url.path!r}."))
