"""Traces of a real server, sent to a receiver that reads OTLP."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from penstock import Endpoint, deploy, model_type

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PATIENCE_S = 60


class Receiver:
    """An OTLP receiver; `spans` gets every span that is sent to it."""

    def __init__(self) -> None:
        self.spans: queue.Queue[Any] = queue.Queue()
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                sent = ExportTraceServiceRequest()
                if self.path == "/v1/traces":
                    sent.ParseFromString(body)
                for resource in sent.resource_spans:
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            spans.put(span)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def trace(self, trace_id: str, root: str) -> dict[str, Any]:
        """The spans of a trace by name, once its root is there."""
        found: dict[str, Any] = {}
        while root not in found:
            span = self.spans.get(timeout=PATIENCE_S)
            if span.trace_id.hex() == trace_id:
                found[span.name] = span
        while not self.spans.empty():
            span = self.spans.get()
            if span.trace_id.hex() == trace_id:
                found[span.name] = span
        return found


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def tracing(launch_server: Any, receiver: Receiver, data: Path, gateways: int) -> Iterator[Any]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "PENSTOCK_WEBHOOK_ALLOW": "127.0.0.1",
        "PENSTOCK_GATEWAYS": str(gateways),
    }
    live = launch_server(data, environment)
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def traced(
    launch_server: Any, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    yield from tracing(launch_server, receiver, tmp_path_factory.mktemp("traced") / "data", 1)


@pytest.fixture(scope="module")
def crowd(
    launch_server: Any, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The same with three gateways."""
    yield from tracing(launch_server, receiver, tmp_path_factory.mktemp("crowd") / "data", 3)


def two_stages(server: Any) -> Endpoint:
    def model(value: Any) -> Any:
        return value

    def pre(data: Any) -> Any:
        return data

    def post(result: Any) -> Any:
        if float(result[0][0]) < 0:
            raise ValueError("below zero")
        return result

    stages = [
        (model_type.PYTHON, model, {"pre": pre}),
        (model_type.PYTHON, model, {"post": post}),
    ]
    return deploy(stages, "traced", server.keys["deploy"], server=server.url)


def call(
    server: Any, endpoint: Endpoint, data: Any, trace: str, flags: str = "01"
) -> httpx2.Response:
    headers = {
        "Authorization": server.keys["deploy"],
        "traceparent": f"00-{trace}-{PARENT}-{flags}",
    }
    return httpx2.post(str(endpoint), json=data, headers=headers, timeout=30)


def test_a_call_of_two_stages_is_a_trace_with_the_stages_as_spans(traced, receiver):
    endpoint = two_stages(traced)
    answer = call(traced, endpoint, [[1.0]], TRACE)
    spans = receiver.trace(TRACE, "predict traced")
    root = spans["predict traced"]
    assert root.parent_span_id.hex() == PARENT
    facts = {a.key: a.value.string_value or a.value.int_value for a in root.attributes}
    assert facts["penstock.run_id"] == answer.json()["run_id"]
    assert (facts["penstock.deployment"], facts["penstock.version"]) == ("traced", endpoint.version)
    stages = spans["stage 1"], spans["stage 2"]
    assert [s.parent_span_id for s in stages] == [root.span_id] * 2
    assert spans["pre"].parent_span_id == stages[0].span_id
    assert spans["post"].parent_span_id == stages[1].span_id
    for outer, inner in ((root, stages[0]), (root, stages[1]), (stages[0], spans["pre"])):
        assert outer.start_time_unix_nano <= inner.start_time_unix_nano
        assert inner.end_time_unix_nano <= outer.end_time_unix_nano
    timing = answer.headers["server-timing"]
    took_ms = (spans["pre"].end_time_unix_nano - spans["pre"].start_time_unix_nano) / 1e6
    assert f"s1-pre;dur={took_ms:.3f}" in timing


def test_a_failed_call_is_a_trace_with_an_error_that_ends_where_it_failed(traced, receiver):
    trace = "2" * 32
    assert call(traced, two_stages(traced), [[-1.0]], trace).status_code == 500
    spans = receiver.trace(trace, "predict traced")
    assert spans["predict traced"].status.message == "function_failed"
    assert "post" in spans
    assert "encode" not in spans


def test_a_caller_that_does_not_sample_has_no_trace(traced, receiver):
    endpoint = two_stages(traced)
    silent, sampled = "3" * 32, "1" * 32
    call(traced, endpoint, [[1.0]], silent, flags="00")
    call(traced, endpoint, [[1.0]], sampled)
    seen = []
    while not seen or (seen[-1].name, seen[-1].trace_id.hex()) != ("predict traced", sampled):
        seen.append(receiver.spans.get(timeout=PATIENCE_S))
    assert silent not in {span.trace_id.hex() for span in seen}


def test_traces_come_through_more_gateways_too(crowd, receiver):
    endpoint = two_stages(crowd)
    wanted = [f"{number:032x}" for number in range(1, 25)]
    for trace in wanted:
        assert call(crowd, endpoint, [[1.0]], trace).status_code == 200
    seen = set()
    while not set(wanted) <= seen:
        seen.add(receiver.spans.get(timeout=PATIENCE_S).trace_id.hex())


@pytest.mark.parametrize("kind", ["traced", "crowd"])
def test_an_asynchronous_run_belongs_to_the_trace_of_the_request_that_submitted_it(
    request, receiver, kind
):
    server = request.getfixturevalue(kind)
    endpoint = two_stages(server)
    first, second = {"traced": ("1a", "1b"), "crowd": ("2a", "2b")}[kind]
    asked = {
        first * 16: ("?async=true", [[1.0]]),
        second * 16: ("", {"data": [[1.0]], "webhook_endpoint": f"{receiver.url}/told"}),
    }
    for trace, (query, body) in asked.items():
        headers = {
            "Authorization": server.keys["deploy"],
            "traceparent": f"00-{trace}-{PARENT}-01",
        }
        answer = httpx2.post(f"{endpoint}{query}", json=body, headers=headers, timeout=30)
        assert answer.status_code == 202, answer.text
        spans = receiver.trace(trace, "run traced")
        root = spans["run traced"]
        facts = {a.key: a.value.string_value for a in root.attributes}
        assert facts["penstock.run_id"] == answer.json()["run_id"]
        assert root.parent_span_id.hex() == PARENT
        assert spans["pre"].parent_span_id == spans["stage 1"].span_id
        assert spans["stage 2"].parent_span_id == root.span_id


def test_log_lines_are_json_when_asked_for(start_server):
    server = start_server(environment={"PENSTOCK_LOG_FORMAT": "json"})
    server.stop()
    lines = [line for line in server.lines if line.startswith("{")]
    told = [json.loads(line) for line in lines]
    assert any(line["message"].startswith("Stopping") for line in told)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in told)
