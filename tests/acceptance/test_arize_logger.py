"""What the Arize logger sends, with Arize's own library, to a receiver that stands for Arize.

The library lives in an environment that the server builds; it need not be beside the tests.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import model_type

pa = pytest.importorskip("pyarrow")

PROGRAM = Path(__file__).parents[1] / "programs" / "arize_rows.py"
#: As the extra `arize` has them.
REQUIREMENTS = ["arize>=7.20,<8", "packaging>=23", "pandas>=2.2"]


def whereabouts(data: Any) -> Any:
    """Say where an environment is, and where the package is that its workers run."""
    import sys
    from pathlib import Path

    import penstock

    return {"python": sys.executable, "package": str(Path(penstock.__file__).parents[1])}


@pytest.fixture(scope="module")
def told(put_once: Any) -> dict[str, str]:
    """Where an interpreter with Arize's library is, and the package to run there."""
    endpoint = put_once([(model_type.PYTHON, whereabouts)], "arize", requirements=REQUIREMENTS)
    found: dict[str, str] = endpoint.predict([])
    return found


class Receiver(http.server.ThreadingHTTPServer):
    """Takes what is posted; answers 403 to every key but `right`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers.items()), body))
        self.send_response(200 if self.headers["authorization"] == "right" else 403)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def row(index: int, **changes: Any) -> dict[str, Any]:
    usual = {
        "prediction_id": f"run-{index}", "run_id": "run", "index": index, "time": 1_770_000_000.5,
        "project": "default", "deployment": "areas", "version": 3, "run_time_ms": 1.5,
        "input": "[]", "result": "[]", "features": {"width": 2.0, "height": None},
        "features_text": {"kind": "field"}, "outputs": {"no": 0.2, "yes": 0.8},
        "outputs_text": {}, "files": 0,
    }  # fmt: skip
    return {**usual, **changes}


def send(told: dict[str, str], receiver: Receiver, rows: list[Any], **spec: Any) -> Any:
    """Have the logger write rows; return the finished program."""
    uri = f"http://127.0.0.1:{receiver.server_port}/v1"
    given = {"authentication": {"api_key": "right", "space_id": "space-7"}, **spec}
    return subprocess.run(
        [told["python"], PROGRAM, uri],
        input=json.dumps({"spec": given, "rows": rows}),
        env={**os.environ, "PYTHONPATH": told["package"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def received(receiver: Receiver) -> tuple[list[dict[str, Any]], bytes]:
    """Return the rows of the only request, and Arize's own description of them."""
    ((path, headers, body),) = receiver.got
    assert path == "/v1/pandas_arrow"
    assert headers["arize-space-id"] == "space-7"
    table = pa.ipc.open_stream(body).read_all()
    assert headers["number-of-rows"] == str(len(table))
    return table.to_pylist(), base64.b64decode(table.schema.metadata[b"arize-schema"])


def test_classes_are_sent_with_label_score_features_and_version(
    told: dict[str, str], receiver: Receiver
) -> None:
    other = row(1, outputs={"no": 0.7, "yes": 0.3}, features={"width": 4.0, "height": 1.0})
    done = send(told, receiver, [row(0), other])
    assert done.returncode == 0, done.stderr
    rows, described = received(receiver)
    assert [r["prediction_id"] for r in rows] == ["run-0", "run-1"]
    assert [(r["prediction_label"], r["prediction_score"]) for r in rows] == [
        ("yes", 0.8), ("no", 0.7),
    ]  # fmt: skip
    assert [(r["width"], r["height"], r["kind"]) for r in rows] == [
        (2.0, None, "field"), (4.0, 1.0, "field"),
    ]  # fmt: skip
    assert {r["prediction_ts"] for r in rows} == {1_770_000_000}
    assert b"areas" in described


def test_numbers_texts_and_a_feature_that_is_both_are_sent(
    told: dict[str, str], receiver: Receiver
) -> None:
    rows = [
        row(0, outputs={"0": 1.5}, features={"width": 2.0}),
        row(1, outputs={"0": 2.5}, features={}, features_text={"width": "wide"}),
    ]
    done = send(told, receiver, rows, arguments={"model_type": "regression", "model_id": "mine"})
    assert done.returncode == 0, done.stderr
    found, described = received(receiver)
    assert [r["prediction_label"] for r in found] == [1.5, 2.5]
    assert [r["width"] for r in found] == ["2.0", "wide"]
    assert b"mine" in described


def test_what_arize_refuses_is_an_error_with_its_status(
    told: dict[str, str], receiver: Receiver
) -> None:
    wrong = {"api_key": "wrong", "space_id": "space-7"}
    done = send(told, receiver, [row(0)], authentication=wrong)
    assert done.returncode == 1
    assert "Arize answered 403" in done.stderr
