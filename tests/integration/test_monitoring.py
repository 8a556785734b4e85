"""Predictions of a real classifier, watched: drift from a reference, truths, alerts by webhook."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
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


def put(server: Any, model: Any, name: str = "iris", **options: Any) -> Any:
    stage = (model_type.SKLEARN_CLASSIFIER, model, {"post": labels})
    return deploy([stage], name, server.keys["deploy"], server=server.url, **options)


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
    endpoint = put(server, model, "not-watched")
    with pytest.raises(InvalidSetting, match="3 rows"):
        endpoint.monitor(IRIS.data[:3])
    with pytest.raises(InvalidSetting, match="needs inputs"):
        endpoint.monitor()
    answer = httpx2.get(
        f"{endpoint.rsplit('/', 1)[0]}/monitoring",
        headers={"Authorization": server.keys["deploy"]},
    )
    assert answer.status_code == 404


def test_a_deployment_that_takes_the_name_of_a_deleted_one_inherits_nothing(server, model):
    def get(path: str) -> httpx2.Response:
        headers = {"Authorization": server.keys["deploy"]}
        return httpx2.get(f"{server.url}/v1/default{path}", headers=headers, timeout=30)

    endpoint = put(server, model, "iris-anew", reference=IRIS.data)
    answer = endpoint.call(IRIS.data[:50])
    endpoint.feedback(dict.fromkeys(answer.prediction_ids, 1))
    assert watched(server, "iris-anew")["window_quality"]
    deadline = time.monotonic() + 60
    while (
        get(f"/runs/{answer.run_id}").status_code == 404
        or not get("/iris-anew/traffic").json()["total"]["calls"]
    ):
        assert time.monotonic() < deadline
        get("/iris-anew/logs?wait=1")
    old = {switch["version"] for switch in get("/iris-anew/traffic?range=24h").json()["switches"]}
    assert old
    gone = httpx2.delete(
        f"{server.url}/v1/default/iris-anew", headers={"Authorization": server.keys["deploy"]}
    )
    assert gone.status_code == 204, gone.text
    put(server, model, "iris-anew")
    assert get("/iris-anew/monitoring").status_code == 404
    assert get(f"/runs/{answer.run_id}").status_code == 404
    traffic = get("/iris-anew/traffic?range=24h").json()
    assert not traffic["total"]["calls"]
    assert not old & {switch["version"] for switch in traffic["switches"]}
    assert not any(version["calls"] for version in traffic["versions"])
    assert get("/runs?deployment=iris-anew").json()["runs"] == []
    unknown = endpoint.feedback(dict.fromkeys(answer.prediction_ids, 1))
    assert len(unknown) == 50


def test_the_pages_show_drift_and_accuracy_and_take_the_truth(server, model):
    endpoint = put(server, model, "iris-pages")
    with httpx2.Client(base_url=server.url, follow_redirects=True, timeout=30) as web:
        web.post("/sign-in", data={"key": server.keys["deploy"]})
        assert "are not watched yet" in web.get("/p/default/d/iris-pages/monitoring").text
        moved = IRIS.data.copy()
        moved[:, 2] += 6.0
        endpoint.monitor(IRIS.data, features=FEATURES, targets=["species"], min_rows=100)
        answer = endpoint.call(moved)
        shown = web.get("/p/default/d/iris-pages/monitoring").text
        row = re.search(r"<tr><td>.*?petal length.*?</tr>", shown, re.DOTALL)
        assert row is not None
        assert re.findall(r'class="word">(\w+)<', row[0])[-1] == "Changed"
        assert "No truth was told yet" in shown
        page = f"/p/default/runs/{answer.run_id}"
        asked = web.get(f"{page}?fresh=1").text
        word = re.search(r'<meta name="csrf" content="(\w+)"', asked)
        assert word is not None
        first, second = answer.prediction_ids[:2]
        assert f'name="truth-{first}"' in asked
        right, wrong = json.dumps(answer.result[0]), "17"
        told = web.post(
            f"{page}/truths",
            data={"csrf": word[1], f"truth-{first}": right, f"truth-{second}": wrong},
        ).text
        assert "the truth about 2 of its predictions" in told
        assert f'value="{right}"' in told
        assert re.findall(r"<td>(?:<b class=\"bad\">)?(yes|no)\b", told) == ["yes", "no"]
        shown = web.get("/p/default/d/iris-pages/monitoring").text
        assert ">50.00<" in shown
        assert 'data-label="accuracy %">50.00<' in shown
        assert "Accuracy by hour" not in shown  # one hour makes no line
