"""The webhook of a body is found as the worker would find it, or not at all."""

from __future__ import annotations

import pytest

from penstock.codec.payload import decode
from penstock.codec.request import encode_request
from penstock.codec.webhook_field import find_webhook, is_wide, mentions_webhook

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


TEXT = '{"data": ["\u00e9"], "webhook_endpoint": "https://a.example/x"}'


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf-8"),
        ("", "utf-8-sig"),
        ("; charset=UTF-8", "utf-8-sig"),
        ("; charset=latin-1", "latin-1"),
        ('; charset="Windows-1252"', "windows-1252"),
        ("; charset=utf-16", "utf-16"),
        ("; charset=UTF-16LE", "utf-16-le"),
        ("; charset=utf-16be", "utf-16-be"),
        ("; Charset=utf-32", "utf-32"),
        ("; charset=utf-32be", "utf-32-be"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "Text/JSON", "application/x+json"])
def test_whatever_charset_the_worker_reads_the_server_does(
    kind: str, charset: str, codec: str
) -> None:
    media, body = kind + charset, TEXT.encode(codec)
    assert mentions_webhook(media.encode(), body)
    assert not mentions_webhook(media.encode(), "[1]".encode(codec))
    for given in (body, memoryview(body)):
        assert find_webhook(media, given) == decode(media, given).webhook_endpoint == URL


def test_only_charsets_with_wide_letters_are_searched_for_them() -> None:
    assert is_wide(b"application/json; charset=UTF-16")
    assert not is_wide(b"application/json")
    assert not is_wide(b"application/json; charset=utf-8")
    assert not mentions_webhook(b"application/json", TEXT.encode("utf-16"))


@pytest.mark.parametrize(
    "media", ["application/json; charset=klingon", "application/json; charset=utf-16"]
)
def test_what_is_not_in_its_charset_is_left_to_the_worker(media: str) -> None:
    assert find_webhook(media, TEXT.encode()[:-1]) is None


def test_more_than_one_byte_order_mark_is_read_by_neither() -> None:
    body = b"\xef\xbb\xbf\xef\xbb\xbf" + TEXT.encode()
    assert find_webhook("application/json", body) is None
