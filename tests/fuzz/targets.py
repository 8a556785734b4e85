"""Everything that reads bytes of strangers, each as a function from bytes that may refuse them.

A target returns, or raises `PenstockError`; anything else it raises is a defect. `run.py` feeds
them for as long as wanted, `tests/unit/test_fuzz_targets.py` a little in every run of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.codec import frames, worker_messages
from penstock.codec.bundle import check_module_path, read_manifest
from penstock.codec.gateway_messages import FromGateway, ToGateway
from penstock.codec.memory import WorkerAnswer, WorkerRequest
from penstock.codec.oip import read_infer
from penstock.codec.payload import decode
from penstock.codec.webhook_field import find_webhook
from penstock.control.file_links import offered_name
from penstock.control.insight.timings import place_of, read_parts
from penstock.control.key_text import key_in
from penstock.control.webhook_urls import check_url
from penstock.core.errors import PenstockError
from penstock.core.names import check_deployment_name, check_project_name, is_sha256
from penstock.engine.local import worker_facts
from penstock.environments.lock import packages_of
from penstock.environments.requirements import check as check_requirements
from penstock.server.gateway.chunked import ChunkedEnd
from penstock.server.gateway.head import HeadReader
from penstock.server.gateway.limits import Limits
from penstock.server.hosts import is_address, name_of

BOUNDARY = "multipart/form-data; boundary=xyz"

#: Bytes that the formats give a meaning to; mutations put them in.
WORDS = (
    b"--xyz", b"\r\n\r\n", b"\r\n", b"\x00", b"\xff\xfe", b"\x93NUMPY", b"{", b"[", b'"',
    b"\\u0000", b"\xed\xa0\x80", b"../", b"%00", b"9" * 40, b"-1", b"1e999", b"NaN",
    b"webhook_endpoint", b"@",
    b"[::1]", b"0x7f.1", b"Content-Length: ", b"Transfer-Encoding: chunked", b"filename*=UTF-8''",
    b"\xff\xff\xff\xff", b"<f8", b"|O", b"shape", b"$schema",
)  # fmt: skip


def json_body(data: bytes) -> None:
    decode("application/json", data)


def multipart_body(data: bytes) -> None:
    for file in decode(BOUNDARY, data).files:
        file.read()


def multipart_header(data: bytes) -> None:
    part = b"--xyz\r\nContent-Disposition: form-data; name=data\r\n\r\n1\r\n--xyz--\r\n"
    decode(data.decode("latin-1"), part)


def npy_body(data: bytes) -> None:
    array = decode("application/x-npy", data).data
    assert array.dtype.hasobject is False


def arrow_body(data: bytes) -> None:
    decode("application/vnd.apache.arrow.stream", data)


def requirements(data: bytes) -> None:
    for line in check_requirements([data.decode("utf-8", "surrogateescape")]):
        assert not line.startswith("-")
        assert len(line.splitlines()) == 1
        assert "file:" not in line[:5]


def lock_text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for name in packages_of(text):
        assert "/" not in name
        assert not name.startswith(".")


def infer_body(data: bytes) -> None:
    read_infer(f"application/vnd.penstock.infer; header={data.rfind(b'}') + 1}", data)


def webhook_field(data: bytes) -> None:
    find_webhook("application/json", data)
    find_webhook(BOUNDARY, data)


def call_frames(data: bytes) -> None:
    found: list[frames.CallFrame] = []
    assert 0 <= frames.read_calls(data, found) <= len(data)


def reply_frames(data: bytes) -> None:
    found: list[frames.Reply] = []
    try:
        assert 0 <= frames.read_replies(memoryview(data), found) <= len(data)
    finally:
        for reply in found:  # nothing in them may end the header of an answer
            assert reply.media <= frames.MEDIA_ARROW
            assert reply.timing.decode("ascii").isprintable()


def facts(data: bytes) -> None:
    for stage in worker_facts.read(data).get("stages", []):
        for spec in stage.get("inputs") or []:
            list(spec.get("shape") or [])


def timing(data: bytes) -> None:
    for part in read_parts(data.decode("latin-1")):
        assert 0 <= part.ms < float("inf")
        assert part.calls >= 1
        assert place_of(part.name).stage >= 0


def messages(data: bytes) -> None:
    kinds: tuple[Any, ...] = (
        worker_messages.ToWorker, worker_messages.FromWorker, WorkerRequest, WorkerAnswer,
        ToGateway, FromGateway,
    )  # fmt: skip
    for frame in frames.split_frames(bytearray(data), worker_messages.MESSAGE_LIMIT):
        for kind in kinds:
            try:
                worker_messages.unpack_message(frame, kind)
            except PenstockError:
                continue


def manifest(data: bytes) -> None:
    found = read_manifest(data)
    for blob in found.blobs().values():
        assert is_sha256(blob.sha256)
    for module in found.modules:
        assert not module.path.startswith(("/", ".."))
        assert ".." not in module.path.split("/")


def module_path(data: bytes) -> None:
    path = check_module_path(data.decode("utf-8", "surrogateescape"))
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\x00" not in path


def names(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for check in (check_deployment_name, check_project_name):
        try:
            name = check(text)
        except PenstockError:
            continue
        assert name.isascii()
        assert "/" not in name
        assert "." not in name
        assert len(name) <= 20
    assert "/" not in offered_name(text)
    assert "\x00" not in offered_name(text)


def keys(data: bytes) -> None:
    key_in(data)


def webhook_url(data: bytes) -> None:
    check_url(data.decode("utf-8", "surrogateescape"))


def request_head(data: bytes) -> None:
    HeadReader(Limits()).read(data + b"\r\n\r\n")


def chunks(data: bytes) -> None:
    end, at = ChunkedEnd(), 0
    for piece in (data[:7], data[7:]):
        at = end.find(piece, 0)
        if at >= 0:
            assert at <= len(piece)
            return


def host(data: bytes) -> None:
    text = data.decode("latin-1")
    is_address(name_of(text))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        json_body, multipart_body, multipart_header, npy_body, infer_body, webhook_field,
        call_frames, reply_frames, messages, manifest, module_path, names, keys, webhook_url,
        request_head, chunks, host, arrow_body, requirements, lock_text, facts, timing,
    )
}  # fmt: skip


def feed(name: str, data: bytes) -> None:
    """Give `data` to a target; a refusal is a good answer."""
    try:
        TARGETS[name](data)
    except PenstockError:
        return
