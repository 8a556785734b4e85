"""Predict calls that the gateway hands over: chunked bodies, odd addresses, versions by number."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from penstock.core.records import Scope
from penstock.server.endpoints import Endpoint, Parts
from penstock.server.openapi import PREDICT_ERRORS, PredictAnswer


async def predict(request: Request, parts: Parts) -> Response:
    """Run the deployment's active version."""
    return await parts.predict(request)


async def predict_version(request: Request, parts: Parts) -> Response:
    """Run one version, started for a while if it does not run."""
    return await parts.predict(request)


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/{project}/{name}/predict",
        predict,
        "Run a deployment's active version.",
        Scope.PREDICT,
        takes="application/json",
        gives=PredictAnswer,
        errors=PREDICT_ERRORS,
        checks_key=True,
    ),
    Endpoint(
        "POST",
        "/v1/{project}/{name}/versions/{number:int}/predict",
        predict_version,
        "Run one version of a deployment, active or not.",
        Scope.PREDICT,
        takes="application/json",
        gives=PredictAnswer,
        errors=PREDICT_ERRORS,
        checks_key=True,
    ),
]
