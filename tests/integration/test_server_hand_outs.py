"""What a real server hands out by itself: webhooks of runs, and files that functions upload."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from penstock import Conduit, deploy, model_type, upload

Start = Callable[..., Any]

DEADLINE_S = 30.0

#: The receivers of these tests are on this machine.
ALLOWED = {"PENSTOCK_WEBHOOK_ALLOW": "127.0.0.1"}


class Receiver:
    """Takes webhooks on a real port; `refusals` are answered first."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.refusals: list[int] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.refusals.pop(0) if receiver.refusals else 204
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                with receiver._changed:
                    receiver.got.append((headers, body))
                    receiver._changed.notify_all()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def wait_for(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, DEADLINE_S)
            return list(self.got)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaler that leaves its input as it is."""
    import joblib
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = tmp_path_factory.mktemp("model") / "same.joblib"
    joblib.dump(scaler, path)
    return path


def write_and_upload(result, data):
    with open("report.csv", "w") as file:
        file.writelines(f"{row[0]}\n" for row in result)
    return upload("report.csv", ttl=60)


def upload_nothing(result):
    return upload("no.csv")


def fail(result):
    raise ValueError("no good")


def put(server: Any, model: Path, name: str, **functions: Any) -> str:
    flow = [(model_type.SKLEARN_PREPROCESSOR, model, functions)]
    return str(deploy(flow, name, server.keys["deploy"], server=server.url))


def call(server: Any, method: str, path: str, key: str = "deploy", **more: Any) -> httpx2.Response:
    headers = {"Authorization": server.keys[key]}
    return httpx2.request(method, server.url + path, headers=headers, timeout=60, **more)


def later(server: Any, endpoint: str, data: Any, url: str) -> httpx2.Response:
    body = {"data": data, "webhook_endpoint": url}
    path = endpoint.removeprefix(server.url)
    return call(server, "POST", path, "predict", json=body)


def test_a_function_hands_out_a_file_by_its_address(server: Any, model: Path) -> None:
    endpoint = put(server, model, "uploads", post=write_and_upload)
    answers = [
        call(server, "POST", endpoint.removeprefix(server.url), json=[[float(n)]]).json()
        for n in range(3)
    ]
    for number, answer in enumerate(answers):
        (url,) = answer["result"]
        assert url.startswith(f"{server.url}/v1/default/files/file_")
        got = httpx2.get(url)
        assert (got.status_code, got.text) == (200, f"{float(number)}\n")
        assert got.headers["content-type"].startswith("text/csv")
        part = httpx2.get(url, headers={"Range": "bytes=0-0"})
        assert (part.status_code, part.text) == (206, str(number))
        assert httpx2.head(url).headers["content-length"] == "4"
        assert httpx2.get(url.replace("report", "rapport")).status_code == 403
    listed = call(server, "GET", "/v1/default/files").json()["files"]
    assert {file["url"] for file in listed} >= {answer["result"][0] for answer in answers}


def test_a_missing_file_is_an_error_of_the_function(server: Any, model: Path) -> None:
    endpoint = put(server, model, "no-upload", post=upload_nothing)
    answer = call(server, "POST", endpoint.removeprefix(server.url), json=[[1.0]])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, "upload_failed")
    assert (error["stage"], error["function"]) == (1, "post")
    assert "upload('no.csv'): there is no such file" in error["message"]


def test_locally_upload_gives_the_path_back(model: Path) -> None:
    flow = [(model_type.SKLEARN_PREPROCESSOR, model, {"post": write_and_upload})]
    conduit = Conduit("uploads", "", flow)
    conduit.load()
    assert conduit.run([[1.0]]) == ["report.csv"]


def test_files_and_their_addresses_outlive_the_server(start_server: Start, model: Path) -> None:
    first = start_server(port=0)
    endpoint = put(first, model, "uploads", post=write_and_upload)
    answer = call(first, "POST", endpoint.removeprefix(first.url), json=[[5.0]])
    url = answer.json()["result"][0]
    data, keys = first.data, first.keys
    first.kill()
    second = start_server(data)
    second.keys.update(keys)
    assert httpx2.get(second.url + url.removeprefix(first.url)).text == "5.0\n"
    assert (data / "files.key").stat().st_mode & 0o777 == 0o600


def test_the_end_of_a_run_reaches_its_webhook_signed(
    start_server: Start, model: Path, receiver: Receiver
) -> None:
    server = start_server(environment=ALLOWED)
    good = put(server, model, "good")
    bad = put(server, model, "bad", post=fail)
    secret = call(server, "GET", "/v1/default/webhooks/secret").json()["secret"]
    accepted = later(server, good, [[7.0]], receiver.url)
    assert accepted.status_code == 202, accepted.text
    ((headers, body),) = receiver.wait_for(1)
    told = Webhook(secret).verify(body, headers)
    run_id = accepted.json()["run_id"]
    assert (told["run_id"], told["type"], told["result"]) == (run_id, "run.succeeded", [[7.0]])
    assert (told["status_code"], told["prediction_ids"]) == (200, [f"{run_id}-0"])
    failed = later(server, bad, [[7.0]], receiver.url).json()
    headers, body = receiver.wait_for(2)[1]
    told = Webhook(secret).verify(body, headers)
    assert (told["run_id"], told["type"], told["status_code"]) == (
        failed["run_id"],
        "run.failed",
        500,
    )
    assert "ValueError: no good" in told["message"]
    assert "traceback" not in json.dumps(told)


def test_a_webhook_that_cannot_be_called_is_refused_at_once(server: Any, model: Path) -> None:
    endpoint = put(server, model, "refusing")
    for url in ("http://127.0.0.1:9/x", "http://169.254.169.254/", "ftp://example.com/", "x"):
        answer = later(server, endpoint, [[1.0]], url)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["code"] == "invalid_webhook_url"


def test_a_webhook_is_told_again_after_kill_9_between_sending_and_noting_it(
    start_server: Start, model: Path, receiver: Receiver
) -> None:
    armed = {**ALLOWED, "PENSTOCK_FAULTS": "webhook.posted=kill"}
    first = start_server(environment=armed)
    endpoint = put(first, model, "flow")
    accepted = later(first, endpoint, [[1.0]], receiver.url)
    receiver.wait_for(1)
    first.wait()
    second = start_server(first.data, ALLOWED)
    second.keys.update(first.keys)
    got = receiver.wait_for(2)
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    run_id = accepted.json()["run_id"]
    path = f"/v1/default/webhooks/deliveries?run_id={run_id}"
    begun = time.monotonic()
    while (found := call(second, "GET", path).json()["deliveries"][0])["state"] == "pending":
        assert time.monotonic() - begun < DEADLINE_S
    assert (found["state"], found["last_status"]) == ("delivered", 204)
    assert len(receiver.got) == 2, "one crash, one repetition"
