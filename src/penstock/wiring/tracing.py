"""Sets OpenTelemetry up, when it is installed and asked for; called by `insight_parts`.

Where spans go is said by OpenTelemetry's own environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, …).
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from penstock.control.insight.traces import Traces
from penstock.core.errors import InvalidSetting

#: Any of these in the environment means that somebody wants traces.
_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def make_traces(how: str, version: str) -> Traces | None:
    """Return what makes traces, or None when there are to be none.

    Args:
        how: The setting `traces`: `auto`, `otlp`, `console` or `off`.
        version: Penstock's version.

    Raises:
        InvalidSetting: Traces are asked for and the SDK is not installed.
    """
    if how == "auto":
        asked = any(os.environ.get(name) for name in _ASKED_BY)
        how = "otlp" if asked and _installed("otlp") else "off"
    if how == "off":
        return None
    if not _installed(how):
        raise InvalidSetting(
            f"The setting traces is {how!r}, and OpenTelemetry is not installed.",
            hint='Run pip install "penstock[tracing]", or set traces to off.',
        )
    return _traces(how, version)


def _installed(how: str) -> bool:
    wanted = ["opentelemetry.sdk.trace"]
    if how == "otlp":
        wanted.append("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    try:
        return all(find_spec(name) is not None for name in wanted)
    except ModuleNotFoundError:
        return False


def _traces(how: str, version: str) -> Traces:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    name = os.environ.get("OTEL_SERVICE_NAME", "penstock")
    resource = Resource.create({"service.name": name, "service.version": version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(_exporter(how)))
    tracer = provider.get_tracer("penstock", version)
    return Traces(tracer, TraceContextTextMapPropagator(), provider.shutdown)


def _exporter(how: str) -> Any:
    if how == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
