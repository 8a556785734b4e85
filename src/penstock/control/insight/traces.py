"""Traces of calls for OpenTelemetry: one span a call, below it one for each part of its time.

Made by `penstock.wiring.tracing` when the SDK is installed and asked for. The hot path only hands
over what it noted; spans are made in a thread, with the times they really had. A caller's W3C
`traceparent` is the parent of the call's span, and decides whether it is recorded. Each attempt of
an asynchronous run is a span, too, from when it was handed to the pool; its parent is the
`traceparent` of the request that submitted it.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.control.insight.timings import Part, place_of, read_parts
from penstock.engine.base import Answer, VersionKey

if TYPE_CHECKING:
    from penstock.control.predict import PredictCall

#: Calls that wait to become spans, at most; what is more is counted, not traced.
MOST_WAITING = 10_000


class Ended(NamedTuple):
    """A call that was answered, as far as its trace needs it."""

    key: VersionKey
    run_id: str
    traceparent: bytes
    ended_ns: int
    took_ns: int
    timing: bytes
    code: str
    is_run: bool


class Traces:
    """Makes spans of calls.

    Args:
        tracer: An OpenTelemetry `Tracer`.
        propagator: Reads `traceparent`: an OpenTelemetry `TextMapPropagator`.
        shut_down: Sends what is left and ends the exporter.

    Attributes:
        lost: Calls that were not traced because too many waited.
    """

    def __init__(self, tracer: Any, propagator: Any, shut_down: Any) -> None:
        self.lost = 0
        self._tracer = tracer
        self._propagator = propagator
        self._shut_down = shut_down
        self._waiting: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="penstock-traces", daemon=True)
        self._thread.start()

    def note(self, call: PredictCall, answer: Answer, took_ns: int) -> None:
        """Take a call that was just answered."""
        if self._waiting.qsize() >= MOST_WAITING:
            self.lost += 1
            return
        ended = Ended(
            call.pool.key, call.run_id, call.trace, time.time_ns(), took_ns, answer.timing,
            answer.code, call.record is None,
        )  # fmt: skip
        self._waiting.put(ended)

    def close(self) -> None:
        """Make the spans that wait and send them."""
        self._waiting.put(None)
        self._thread.join(5.0)
        self._shut_down()

    def _work(self) -> None:
        while (ended := self._waiting.get()) is not None:
            self._trace(ended)

    def _trace(self, ended: Ended) -> None:
        from opentelemetry import trace

        carrier = {"traceparent": ended.traceparent.decode("latin-1")} if ended.traceparent else {}
        began_ns = ended.ended_ns - ended.took_ns
        span = self._tracer.start_span(
            f"{'run' if ended.is_run else 'predict'} {ended.key.deployment}",
            context=self._propagator.extract(carrier),
            kind=trace.SpanKind.CONSUMER if ended.is_run else trace.SpanKind.SERVER,
            start_time=began_ns,
            attributes={
                "penstock.project": ended.key.project,
                "penstock.deployment": ended.key.deployment,
                "penstock.version": ended.key.number,
                "penstock.run_id": ended.run_id,
            },
        )
        if span.is_recording():
            if ended.code:
                span.set_attribute("error.type", ended.code)
                span.set_status(trace.Status(trace.StatusCode.ERROR, ended.code))
            context = trace.set_span_in_context(span)
            self._parts(read_parts(ended.timing.decode("latin-1")), began_ns, context)
        span.end(end_time=ended.ended_ns)

    def _parts(self, parts: list[Part], at_ns: int, context: Any) -> None:
        """Make a span for each part, those of a stage below a span of the stage."""
        from opentelemetry import trace

        stage, above, within = 0, None, context
        for part in parts:
            place = place_of(part.name)
            ends_ns = at_ns + int(part.ms * 1e6)
            if place.stage != stage:
                if above is not None:
                    above.end(end_time=at_ns)
                stage, above, within = place.stage, None, context
                if stage:
                    above = self._tracer.start_span(
                        f"stage {stage}", context=context, start_time=at_ns,
                        attributes={"penstock.stage": stage},
                    )  # fmt: skip
                    within = trace.set_span_in_context(above)
            self._part(part, place.branch, place.kind, at_ns, ends_ns, within)
            at_ns = ends_ns
        if above is not None:
            above.end(end_time=at_ns)

    def _part(
        self, part: Part, branch: str, kind: str, began_ns: int, ended_ns: int, context: Any
    ) -> None:
        attributes: dict[str, Any] = {"penstock.part": kind}
        if branch:
            attributes["penstock.branch"] = branch
        if part.rows:
            attributes |= {"penstock.joined.calls": part.calls, "penstock.joined.rows": part.rows}
        name = f"{branch} {kind}" if branch else kind
        span = self._tracer.start_span(
            name, context=context, start_time=began_ns, attributes=attributes
        )
        span.end(end_time=ended_ns)
