"""A function that answers in place of its worker: its own callers notice, nobody else does."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest
from versioned import put

from penstock import model_type

#: What such an answer says of its time.
TIMES = [
    "s1-pre;dur=1e999",
    "s1-pre;dur=nan",
    "s" + "9" * 5000 + "-pre;dur=1",
    's1-model;dur=1;desc="' + "9" * 5000 + '/1"',
    ", ".join(f"made-up-{number};dur=1" for number in range(3000)),
    's1-"\\{}-pre;dur=1',
]


def answer_instead(data: Any) -> Any:
    import os
    import struct
    import sys

    frame, calls = sys._getframe(), []
    while frame is not None and not calls:
        for value in tuple(frame.f_locals.values()):
            if isinstance(value, list) and value and type(value[0]).__name__ == "CallFrame":
                calls = value
        frame = frame.f_back
    sockets = [fd for fd in range(3, 100) if _is_socket(fd)]
    timing, body = data[0].encode(), b'{"result":["mine"]}'
    head = struct.pack(
        "<IBBBBHQ", 14 + len(timing) + len(body), 2, 0, 0, 0, len(timing), calls[0].call_id
    )
    os.write(min(sockets), head + timing + body)  # the first is the one of the answers
    return data


def _is_socket(fd: int) -> bool:
    import os
    import stat

    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def model(value: Any) -> Any:
    return value


@pytest.mark.parametrize("number", range(len(TIMES)))
def test_what_an_answer_says_of_its_time_breaks_no_figures(server: Any, number: int) -> None:
    name = f"answers-{number}"
    put(server, [(model_type.PYTHON, model, {"pre": answer_instead})], name)
    with httpx2.Client(
        base_url=server.url, headers={"Authorization": server.keys["admin"]}, timeout=60
    ) as client:
        said = client.post(f"/v1/default/{name}/predict", json=[TIMES[number]])
        assert said.json() == {"result": ["mine"]}
        details = f"/v1/default/runs/{said.headers['penstock-run-id']}/details"
        deadline = time.monotonic() + 30
        while client.get(details).status_code == 404:  # figures are worked out every second
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for path in (details, "/metrics", "/v1/default/traffic", f"/v1/default/{name}/traffic"):
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text[:500])
            assert len(answer.text) < 10_000_000
        told = f'penstock_calls_total{{project="default",deployment="{name}"'
        assert told in client.get("/metrics").text


def test_an_answer_that_would_add_to_its_header_ends_its_worker_only(server: Any) -> None:
    put(server, [(model_type.PYTHON, model, {"pre": answer_instead})], "splits")
    with httpx2.Client(
        base_url=server.url, headers={"Authorization": server.keys["predict"]}, timeout=60
    ) as client:
        more = "a\r\nset-cookie: penstock=mine\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK"
        answer = client.post("/v1/default/splits/predict", json=[more])
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "worker_died"
        assert "set-cookie" not in answer.headers
        assert client.get("/healthz").status_code == 200
