"""Every named limit, from its setting to the status that a caller gets, on one real server."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from penstock import deploy, model_type, save, upload

LIMITS = {
    "PENSTOCK_MAX_ADDRESS_BYTES": "256",
    "PENSTOCK_MAX_HEADER_BYTES": "2048",
    "PENSTOCK_MAX_HEADER_FIELDS": "20",
    "PENSTOCK_MAX_PARTS": "3",
    "PENSTOCK_MAX_NESTING": "6",
    "PENSTOCK_MAX_BODY_BYTES": "4096",
    "PENSTOCK_MAX_CONTROL_BODY_BYTES": "65536",
    "PENSTOCK_MAX_MANIFEST_BYTES": "80000",
    "PENSTOCK_MAX_CONTROL_ITEMS": "500",
    "PENSTOCK_MAX_BLOB_BYTES": "100000",
    "PENSTOCK_MAX_RESULT_BYTES": "262144",
    "PENSTOCK_PROJECT_STORAGE_BYTES": "150000",
    "PENSTOCK_HEADER_TIMEOUT_S": "0.5",
    "PENSTOCK_BODY_TIMEOUT_S": "0.5",
    "PENSTOCK_MAX_OPEN_RUNS": "1",
    "PENSTOCK_FILE_BYTES": "2048",
    "PENSTOCK_FILES_TOTAL_BYTES": "3000",
    "PENSTOCK_MEMORY_VALUE_BYTES": "1024",
    "PENSTOCK_MEMORY_TOTAL_BYTES": "1500",
    "PENSTOCK_MEMORY_NAMES": "3",
    "PENSTOCK_MAX_CONNECTIONS_PER_ADDRESS": "40",
}


def obey(order: Any) -> Any:
    what, size = order[0], order[1]
    if what == "answer":
        return "x" * size
    if what == "keep":
        save(order[2], "x" * size)
    if what == "wait":
        import time

        time.sleep(size)
    if what == "upload":
        import pathlib

        path = pathlib.Path(f"file-{order[2]}")
        path.write_bytes(str(order[2]).encode() * size)
        upload(path)
    return "done"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, launch_server: Any
) -> Iterator[tuple[Any, httpx2.Client]]:
    server = launch_server(tmp_path_factory.mktemp("limits") / "data", LIMITS)
    deploy(
        [(model_type.PYTHON, obey)], "obeys", server.keys["deploy"], server=server.url, quiet=True
    )
    headers = {"Authorization": server.keys["admin"]}
    with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield server, client
    server.stop()


def told(answer: Any) -> tuple[int, str, bool]:
    """Return status, code, and whether a sensible `Retry-After` comes with it."""
    retry = answer.headers.get("retry-after", "")
    return answer.status_code, answer.json()["error"]["code"], retry.isdigit() and int(retry) > 0


def predict(client: Any, order: Any, **options: Any) -> Any:
    return client.post("/v1/default/obeys/predict", json=order, **options)


def test_addresses_and_heads(site: Any) -> None:
    _server, client = site
    assert told(client.get("/healthz?" + "a" * 300))[:2] == (414, "address_too_long")
    assert told(client.get("/healthz", headers={"X": "a" * 2048}))[:2] == (431, "headers_too_large")
    many = {f"X-{number}": "a" for number in range(20)}
    assert told(client.get("/healthz", headers=many))[:2] == (431, "headers_too_large")


def test_bodies(site: Any) -> None:
    _server, client = site
    assert told(predict(client, ["x" * 5000, 0]))[:2] == (413, "body_too_large")
    assert told(predict(client, [[[[[[[1]]]]]]]))[:2] == (400, "malformed_body")
    parts = [("files", (f"{number}.txt", b"x")) for number in range(4)]
    answer = client.post("/v1/default/obeys/predict", files=parts)
    assert told(answer)[:2] == (400, "malformed_body")
    files = "/v1/default/blobs/missing"
    for path, body, setting in (
        ("/v1/default/keys", {"scope": "read", "label": "x" * 70_000}, "max_control_body_bytes"),
        (files, {"sha256": ["a" * 70_000]}, ""),
        (files, {"sha256": ["a" * 80_000]}, "max_manifest_bytes"),
        (files, {"sha256": ["a"] * 2_500}, "max_control_items"),
        ("/v1/default/obeys/feedback", {"feedback": {"x": [[]] * 500}}, "max_control_items"),
    ):
        answer = client.post(path, json=body)
        if setting:
            assert told(answer)[:2] == (413, "body_too_large"), path
            assert setting in answer.json()["error"]["hint"], path
        else:
            assert told(answer)[:2] == (400, "invalid_name"), answer.text


def test_uploaded_files_and_the_room_of_a_project(site: Any) -> None:
    _server, client = site

    def put(content: bytes) -> Any:
        digest = hashlib.sha256(content).hexdigest()
        return client.put(f"/v1/default/blobs/{digest}", content=content)

    assert told(put(b"a" * 100_001))[:2] == (413, "body_too_large")
    assert put(b"b" * 99_000).status_code < 300
    assert told(put(b"c" * 99_000))[:2] == (413, "storage_full")


def test_answers_and_what_functions_keep_and_hand_out(site: Any) -> None:
    _server, client = site
    assert told(predict(client, ["answer", 300_000]))[:2] == (500, "result_too_large")
    for orders in (
        [["keep", 1100, "large"]],
        [["keep", 900, "first"], ["keep", 900, "second"]],
        [["keep", 1, name] for name in "abcd"],
    ):
        answers = [predict(client, order) for order in orders]
        assert told(answers[-1])[:2] == (500, "memory_quota_exceeded"), orders
    assert told(predict(client, ["upload", 3000, 1]))[:2] == (500, "file_quota_exceeded")
    assert predict(client, ["upload", 2000, 2]).status_code == 200
    assert told(predict(client, ["upload", 2000, 3]))[:2] == (500, "file_quota_exceeded")


def test_runs_that_wait(site: Any) -> None:
    _server, client = site
    query = {"params": {"async": "true"}}
    assert predict(client, ["wait", 1], **query).status_code == 202
    assert told(predict(client, ["wait", 0], **query)) == (429, "overloaded", True)


def test_requests_of_one_key(site: Any) -> None:
    server, client = site
    made = client.post("/v1/default/keys", json={"scope": "predict", "rate_per_s": 2}).json()
    url = f"{server.url}/v1/default/obeys/predict"
    headers = {"Authorization": made["key"]}
    answers = [httpx2.post(url, json=["x", 0], headers=headers) for _ in range(10)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {told(answer) for answer in refused} == {(429, "rate_limited", True)}


@pytest.mark.parametrize("sent", ["head", "body"])
def test_slow_clients(site: Any, sent: str) -> None:
    server, _client = site
    head = "POST /v1/default/obeys/predict HTTP/1.1\r\nHost: x\r\n"
    if sent == "body":
        head += f"Authorization: {server.keys['predict']}\r\nContent-Length: 9\r\n\r\n[1"
    with socket.create_connection(address(server), timeout=20) as slow:
        slow.sendall(head.encode())
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 "), answer


def test_connections_of_one_address(site: Any) -> None:
    server, _client = site
    held = [socket.create_connection(address(server), timeout=20) for _ in range(60)]
    try:
        answer = held[-1].recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 "), answer
        assert b"\r\nretry-after: " in head.lower()
        assert json.loads(body)["error"]["code"] == "overloaded"
    finally:
        for one in held:
            one.close()


def address(server: Any) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return host, int(port)
