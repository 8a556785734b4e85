"""What a client sends: JSON or multipart, big files from disk while sending."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from penstock.codec.payload import decode
from penstock.codec.request import CHUNK_BYTES, encode_request
from penstock.core.errors import MalformedBody


def test_plain_data_is_the_whole_body() -> None:
    sent = encode_request([[1, 2.5]])
    assert sent.media_type == "application/json"
    assert sent.to_bytes() == b"[[1,2.5]]"
    assert sent.size == 9


@pytest.mark.parametrize(
    "data",
    [np.array([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]], requires_grad=True), [np.array([1.0, 2.0])],
     ((1.0, np.float32(2)),), [torch.tensor([1.0, 2.0])]],
)  # fmt: skip
def test_arrays_and_tensors_become_lists(data: object) -> None:
    assert json.loads(encode_request(data).to_bytes()) == [[1.0, 2.0]]


def test_scalars_are_not_wrapped_and_nan_becomes_null() -> None:
    assert encode_request("text").to_bytes() == b'"text"'
    assert encode_request([float("nan")]).to_bytes() == b"[null]"


def test_parameters_make_an_envelope_that_is_read_back() -> None:
    sent = encode_request(["a"], {"top_k": np.int64(3)})
    request = decode(sent.media_type, sent.to_bytes())
    assert (request.data, request.parameters) == (["a"], {"top_k": 3})


def test_files_make_a_multipart_body_that_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / 'a "quoted" naïve.png'
    path.write_bytes(b"PNG")
    sent = encode_request(
        ["x"], {"k": 1}, [path, b"raw", io.BytesIO(b"io"), ("n.txt", b"t", "text/x")]
    )
    request = decode(sent.media_type, sent.to_bytes())
    assert (request.data, request.parameters) == (["x"], {"k": 1})
    assert [(f.name, f.content_type, f.read()) for f in request.files] == [
        (path.name, "image/png", b"PNG"),
        ("file1", "application/octet-stream", b"raw"),
        ("file2", "application/octet-stream", b"io"),
        ("n.txt", "text/x", b"t"),
    ]


def test_files_may_be_sent_without_data() -> None:
    sent = encode_request(None, files=[b"raw"])
    request = decode(sent.media_type, sent.to_bytes())
    assert (request.data, request.count) == ([], 1)


def test_a_media_type_cannot_add_headers() -> None:
    sent = encode_request(None, files=[("a", b"x", "text/plain\r\nX-Evil: 1")])
    assert (
        decode(sent.media_type, sent.to_bytes()).files[0].content_type == "application/octet-stream"
    )


def test_a_body_can_be_sent_twice() -> None:
    sent = encode_request([1], files=[b"abc"])
    assert sent.to_bytes() == sent.to_bytes()


def test_a_big_file_is_read_in_pieces_while_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(b"z" * (8 * CHUNK_BYTES + 7))
    tracemalloc.start()
    try:
        sent = encode_request([1], files=[path])
        total = sum(len(chunk) for chunk in sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == sent.size
    assert peak < 4 * CHUNK_BYTES


@pytest.mark.parametrize("now", [b"shorter", b"much longer than before"])
def test_a_file_that_changes_while_it_is_sent_is_an_error(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"just so long")
    sent = encode_request([1], files=[path])
    path.write_bytes(now)
    with pytest.raises(MalformedBody, match=r"files\[0\].*changed its size"):
        sent.to_bytes()


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedBody, match=r'data\["a"\]\[1\] is a set'):
        encode_request({"a": [1, {2}]})
    with pytest.raises(MalformedBody, match=r"parameters\[\"f\"\] is a builtin|parameters"):
        encode_request([1], {"f": print})
    with pytest.raises(MalformedBody, match=r"files\[0\].*No such file"):
        encode_request([1], files=[tmp_path / "absent"])
    with pytest.raises(MalformedBody, match="Is a directory"):
        encode_request([1], files=[tmp_path])
    with pytest.raises(MalformedBody, match=r"files is a str, not a list.*files=\[file\]"):
        encode_request([1], files="a.png")
    with pytest.raises(MalformedBody, match=r"data\[0\] is a str that JSON cannot hold"):
        encode_request(["\ud800"])
