"""`/metrics` for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from penstock.core.errors import NotFound
from penstock.core.records import Scope
from penstock.server.auth import require
from penstock.server.endpoints import Endpoint, Parts

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: Request, parts: Parts) -> Response:
    """Answer the metrics; a key sees the versions of its project and of what it is granted."""
    how = parts.settings.metrics
    if how == "off":
        raise NotFound("The server tells no metrics.", hint="See the setting metrics.")
    if how == "open":
        return _answer(parts.insight.metrics.text(None))
    key = require(request, parts.keys, Scope.READ)
    return _answer(parts.insight.metrics.text(key.project, key.deployments))


def _answer(text: str) -> Response:
    return Response(text, media_type=MEDIA_TYPE)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/metrics",
        metrics,
        "Metrics for Prometheus; with the setting metrics=open no key is needed.",
        Scope.READ,
        gives="text/plain",
        errors=(NotFound,),
        checks_key=True,
    )
]
