"""Predictions of a real classifier, watched: drift from a reference, truths, alerts by webhook."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from penstock import deploy, model_type
from penstock.core.errors import InvalidSetting

FEATURES = ["sepal length", "sepal width", "petal length", "petal width"]
IRIS = load_iris()


@pytest.fixture
def alerts() -> Iterator[tuple[str, queue.Queue[Any]]]:
    """An address that alerts are told to, and what comes there."""
    heard: queue.Queue[Any] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.put((dict(self.headers.items()), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alert", heard
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(tmp_path: Any) -> Any:
    path = tmp_path / "iris.joblib"
    joblib.dump(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target), path)
    return path


def labels(result: Any) -> Any:
    return [int(row.argmax()) if getattr(row, "ndim", 0) else int(row) for row in result]


def watched(server: Any, name: str = "iris") -> Any:
    answer = httpx2.get(
        f"{server.url}/v1/default/{name}/monitoring",
        headers={"Authorization": server.keys["deploy"]},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def put(server: Any, model: Any, **options: Any) -> Any:
    stage = (model_type.SKLEARN_CLASSIFIER, model, {"post": labels})
    return deploy([stage], "iris", server.keys["deploy"], server=server.url, **options)


def test_values_that_move_away_from_the_reference_are_shown_and_told(start_server, model, alerts):
    url, heard = alerts
    port = url.split(":")[2].split("/")[0]
    server = start_server(environment={"PENSTOCK_WEBHOOK_ALLOW": f"127.0.0.1:{port}"})
    endpoint = put(server, model)
    endpoint.monitor(
        IRIS.data, IRIS.target, features=FEATURES, targets=["species"], alert_url=url, min_rows=120
    )
    endpoint.predict(IRIS.data)
    same = watched(server)
    assert {f["name"]: f["state"] for f in same["features"]} == dict.fromkeys(FEATURES, "stable")
    assert same["outputs"][0]["state"] == "stable"
    assert same["outputs"][0]["kind"] == "category"
    moved = IRIS.data.copy()
    moved[:, 2] += 6.0
    for _ in range(3):
        endpoint.predict(moved)
    found = watched(server)
    states = {f["name"]: f["state"] for f in found["features"]}
    assert states["petal length"] == "changed"
    assert states["sepal width"] == "stable"
    assert found["features"][2]["mean"] > found["features"][2]["reference_mean"] + 3
    headers, told = heard.get(timeout=30)
    assert (told["type"], told["state"], told["deployment"]) == ("monitoring", "problem", "iris")
    assert told["features"]["petal length"] >= 0.2
    assert any(name.lower() == "webhook-signature" for name in headers)
    endpoint.monitor(moved, features=FEATURES, alert_url=url, min_rows=120)
    endpoint.predict(moved)
    assert {f["state"] for f in watched(server)["features"]} == {"stable"}


def test_truths_give_accuracy_by_version_and_survive_a_restart(start_server, model, tmp_path):
    server = start_server(data=tmp_path / "d")
    endpoint = put(server, model, reference=IRIS.data)
    answer = endpoint.call(IRIS.data[:100])
    right = {i: int(t) for i, t in zip(answer.prediction_ids, IRIS.target, strict=False)}
    wrong = dict.fromkeys(list(right)[:20], 7)
    assert endpoint.feedback({**right, **wrong, "made-up-0": 1}) == ["made-up-0"]
    (quality,) = watched(server)["window_quality"]
    assert (quality["version"], quality["count"]) == (1, 100)
    met = [int(r) == int(t) for r, t in zip(answer.result, IRIS.target, strict=False)]
    assert quality["accuracy"] == pytest.approx(sum(met[20:]) / 100)
    server.stop()
    again = start_server(data=tmp_path / "d")
    again.keys.update(server.keys)
    assert watched(again)["window_quality"] == [quality]
    assert watched(again)["features"][0]["count"] == 100
    endpoint = type(endpoint)(f"{again.url}/v1/default/iris/predict", again.keys["predict"])
    assert endpoint.feedback({i: right[i] for i in wrong}) == []
    (mended,) = watched(again)["window_quality"]
    assert mended["accuracy"] == pytest.approx(sum(met) / 100)


def test_a_reference_that_is_of_no_use_is_refused(server, model):
    endpoint = put(server, model)
    with pytest.raises(InvalidSetting, match="3 rows"):
        endpoint.monitor(IRIS.data[:3])
    with pytest.raises(InvalidSetting, match="needs inputs"):
        endpoint.monitor()
    answer = httpx2.get(
        f"{endpoint.rsplit('/', 1)[0]}/monitoring",
        headers={"Authorization": server.keys["deploy"]},
    )
    assert answer.status_code == 404
