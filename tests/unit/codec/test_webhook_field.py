"""The webhook of a body is found as the worker would find it, or not at all."""

from __future__ import annotations

import pytest

from penstock.codec.payload import decode
from penstock.codec.request import encode_request
from penstock.codec.webhook_field import find_webhook

URL = "https://a.example/x"


@pytest.mark.parametrize("files", [None, [b"content"]])
@pytest.mark.parametrize("parameters", [None, {"a": 1}])
def test_what_the_client_writes_is_found(files: object, parameters: object) -> None:
    body = encode_request([1], parameters, files, URL)
    raw = body.to_bytes()
    assert find_webhook(body.media_type, raw) == URL
    assert find_webhook(body.media_type, memoryview(raw)) == URL
    request = decode(body.media_type, raw)
    assert (request.data, request.webhook_endpoint) == ([1], URL)
    assert request.parameters == (parameters or {})


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b'{"webhook_endpoint": "https://a.example/x"}'),
        ("application/json", b'{"data": 1, "other": 2, "webhook_endpoint": "https://a.example"}'),
        ("application/json", b'{"data": {"webhook_endpoint": "https://a.example"}}'),
        ("application/json", b'{"data": 1, "webhook_endpoint": 5}'),
        ("application/json", b'{"data": 1, "webhook_endpoint": null}'),
        ("application/json", b'["webhook_endpoint"]'),
        ("application/json", b'{"data": 1, "webhook_endpoint": "https://a.example"'),
        ("application/json", b'{"data": 1, "webhook_endpoint": "\xff"}'),
        ("multipart/form-data; boundary=x", b"webhook_endpoint"),
        ("application/octet-stream", b'{"data": 1, "webhook_endpoint": "https://a.example"}'),
        ("a; b=1; b=1", b'{"data": 1, "webhook_endpoint": "https://a.example"}'),
    ],
)
def test_what_is_no_envelope_has_none(media_type: str, body: bytes) -> None:
    assert find_webhook(media_type, body) is None
