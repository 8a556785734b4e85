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
    """Answer the metrics; a key of one project sees the versions of that project only."""
    how = parts.settings.metrics
    if how == "off":
        raise NotFound("The server tells no metrics.", hint="See the setting metrics.")
    project = None if how == "open" else require(request, parts.keys, Scope.READ).project
    return Response(parts.insight.metrics.text(project), media_type=MEDIA_TYPE)


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
