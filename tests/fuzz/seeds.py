"""Good inputs to begin with, made by our own writers, those that fuzzing found worth keeping, and
those that once broke something."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from penstock.codec import frames, worker_messages
from penstock.codec.arrow import write_arrow
from penstock.codec.memory import Increment, Publish, Read, Write
from penstock.codec.npy import write_npy

KEPT = Path(__file__).parent / "corpus"

_RUN = b"0" * 36

_MULTIPART = (
    b'--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n[1, 2]\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--xyz--\r\n"
)

_SHA = "ab" * 32

_MANIFEST = {
    "format": 1,
    "interpreter": {"implementation": "cpython", "version": "3.11.7", "magic": "a70d0d0a",
                    "cloudpickle": "3.1.1", "platform": "linux"},
    "stages": [{"model_type": "python", "model": {"sha256": _SHA, "size": 3, "name": "m.pkl"}}],
    "modules": [{"path": "a/b.py", "blob": {"sha256": _SHA, "size": 3, "name": "b.py"}}],
}  # fmt: skip

_INFER = {
    "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
    "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
}

_MESSAGES = [
    worker_messages.Load("p", "d", 1, b"{}", {_SHA: "/x"}, "/s", 1, 8),
    worker_messages.Cancel([1, 2]),
    worker_messages.Ready(1.0, b'{"a": 1}'),
    Read("deployment", "n", 0),
    Publish([Write("deployment", "n", b"v", None)]),
    Increment("deployment", "n", 1, None),
]

_SEEDS: dict[str, list[bytes]] = {
    "json_body": [b"[1, 2.5, null]", b'{"data": [1], "parameters": {"a": 1}}', b'"\\ud83d\\ude00"'],
    "multipart_body": [_MULTIPART],
    "multipart_header": [b'multipart/form-data; boundary="xyz"; charset=utf-8'],
    "npy_body": [write_npy(np.arange(6.0).reshape(2, 3)), write_npy(np.zeros(0, "<i4"))],
    "infer_body": [json.dumps(_INFER).encode()],
    "webhook_field": [b'{"data": [1], "webhook_endpoint": "https://a.example/x"}', _MULTIPART],
    "call_frames": [frames.call_header(1, _RUN, 0, 1, 2, b"application/json", 3) + b"[1]"],
    "reply_frames": [frames.reply_header(1, 0, 0, b"", b"total;dur=1", 3) + b"[1]"],
    "facts": [
        b'{"stages": [{"stage": 1, "inputs": [{"name": "x", "shape": [null, 3]}], "batching": {}}]}'
    ],
    "timing": [b'queue;dur=0.5, s1-pre;dur=2.1, s2-dark-s1-model;dur=4.8;desc="5/9"'],
    "messages": [worker_messages.pack_message(message) for message in _MESSAGES],
    "manifest": [json.dumps(_MANIFEST).encode()],
    "module_path": [b"package/module.py"],
    "names": [b"my-flow-2", "früh.png".encode()],
    "keys": [b"Bearer pk_d_12345678_abcdefghijklmnopqrstuvwxyz012345"],
    "webhook_url": [b"https://user@example.com:8443/a?b=c#d", b"https://[2001:db8::1]/", b"http://0x7f.1/"],
    "request_head": [
        b"POST /v1/a/b/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 3",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c",
    ],
    "chunks": [b"3\r\nabc\r\n0\r\nA: b\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n"],
    "requirements": [b"pandas[excel]>=2 ; python_version > '3.9'", b"x @ https://a.example/x.whl"],
    "lock_text": [b"numpy==2.1.0 \\\n    --hash=sha256:ab\nx @ https://a.example/x.whl\n"],
    "arrow_body": [write_arrow({"a": [1, 2], "b": ["x", None]}) or b"", b"\xff\xff\xff\xff"],
    "host": [b"[::1]:8700", b"models.example.org:443"],
}  # fmt: skip


def packed(target: str) -> Path:
    """Return the file with what fuzzing found worth keeping: one input a line, in base64."""
    return KEPT / f"{target}.lines"


def read_packed(target: str) -> Iterator[bytes]:
    """Yield what is in that file, if there is one."""
    if packed(target).exists():
        yield from map(base64.b64decode, packed(target).read_text().splitlines())


def seeds(target: str) -> Iterator[bytes]:
    """Yield the inputs to begin with."""
    yield from _SEEDS[target]
    yield from read_packed(target)
    folder = KEPT / target
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            yield path.read_bytes()
