"""Writes what a client sends: JSON, or multipart when there are files.

The other direction of `payload`. Called by the client for predict calls and for the example of a
deploy. Files given as paths are read while they are sent, so a big one is never in memory whole.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.codec.files import OCTETS, RequestFile, base_name, guess_type
from penstock.codec.plain import Conversion
from penstock.codec.results import encode_plain
from penstock.codec.tables import rows_of
from penstock.core.errors import MalformedBody

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class _FileOnDisk:
    path: str
    size: int
    number: int

    def chunks(self) -> Iterator[bytes]:
        left = self.size
        with open(self.path, "rb") as source:
            while left and (chunk := source.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
            if left or source.read(1):
                raise MalformedBody(
                    f"files[{self.number}], {self.path!r}, changed its size while it was sent.",
                    hint="Send it again when nothing writes to it.",
                )


class EncodedRequest:
    """A request ready to send.

    Attributes:
        media_type: Value of the Content-Type header.
        size: Length of the body in bytes, for Content-Length.
    """

    __slots__ = ("_pieces", "media_type", "size")

    def __init__(self, media_type: str, pieces: Sequence[memoryview | _FileOnDisk]) -> None:
        self.media_type = media_type
        self.size = sum(p.size if isinstance(p, _FileOnDisk) else len(p) for p in pieces)
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        """Give the body in chunks of at most 1 MiB. May be done again, for a retry.

        Raises:
            MalformedBody: A file changed its size since the request was made.
        """
        for piece in self._pieces:
            if isinstance(piece, _FileOnDisk):
                yield from piece.chunks()
            else:
                for start in range(0, len(piece), CHUNK_BYTES):
                    yield bytes(piece[start : start + CHUNK_BYTES])

    def to_bytes(self) -> bytes:
        """Return the whole body."""
        return b"".join(self)


def encode_request(
    data: Any,
    parameters: Mapping[str, Any] | None = None,
    files: Sequence[Any] | None = None,
    webhook_endpoint: str | None = None,
) -> EncodedRequest:
    """Return a predict call's body.

    Args:
        data: What the flow gets; arrays and tensors in it become lists, NaN becomes null, and a
            data frame becomes its rows. With files it may be None: then only files are sent.
        parameters: Sent beside the data. Without parameters and files, `data` is the whole body,
            so an object with only envelope keys (`data`, `parameters`, `webhook_endpoint`) is read
            as an envelope.
        files: Paths, bytes, open binary files, or `(name, any of these[, content type])`.
        webhook_endpoint: URL to be told of the result; makes the body an envelope.

    Raises:
        MalformedBody: Something has no JSON form (the path is named), or a file cannot be read.
    """
    if isinstance(files, (str, bytes, os.PathLike)) or hasattr(files, "read"):
        raise MalformedBody(
            f"files is a {type(files).__name__}, not a list of files.", hint="Write files=[file]."
        )
    if files:
        return _multipart(data, parameters, files, webhook_endpoint)
    body = _json("data", rows_of(data))
    if parameters or webhook_endpoint is not None:
        body = _envelope(body, parameters, webhook_endpoint)
    return EncodedRequest("application/json", [memoryview(body)])


def _envelope(data: bytes, parameters: Mapping[str, Any] | None, webhook: str | None) -> bytes:
    fields = [b'"data":' + data]
    if parameters:
        fields.append(b'"parameters":' + _json("parameters", dict(parameters)))
    if webhook is not None:
        fields.append(b'"webhook_endpoint":' + _json("webhook_endpoint", webhook))
    return b"{%b}" % b",".join(fields)


def _json(name: str, value: Any) -> bytes:
    return encode_plain(Conversion(name, MalformedBody).run(value), name, MalformedBody)


def _multipart(
    data: Any,
    parameters: Mapping[str, Any] | None,
    files: Sequence[Any],
    webhook_endpoint: str | None,
) -> EncodedRequest:
    # Random, so that no file can be made to contain it.
    boundary = secrets.token_hex(16)
    pieces: list[memoryview | _FileOnDisk] = []

    def add(header: str, content: memoryview | _FileOnDisk) -> None:
        start = "\r\n" if pieces else ""
        text = f"{start}--{boundary}\r\nContent-Disposition: form-data; {header}\r\n\r\n"
        pieces.extend((memoryview(text.encode("utf-8", "replace")), content))

    if data is not None:
        add(_field("data"), memoryview(_json("data", rows_of(data))))
    if parameters:
        add(_field("parameters"), memoryview(_json("parameters", dict(parameters))))
    if webhook_endpoint is not None:
        add('name="webhook_endpoint"', memoryview(webhook_endpoint.encode("utf-8", "replace")))
    for number, given in enumerate(files):
        name, content_type, content = _file(given, number)
        kind = content_type if content_type.isprintable() else OCTETS
        add(f'name="files"; filename="{_quoted(name)}"\r\nContent-Type: {kind}', content)
    pieces.append(memoryview(f"\r\n--{boundary}--\r\n".encode()))
    return EncodedRequest(f"multipart/form-data; boundary={boundary}", pieces)


def _field(name: str) -> str:
    return f'name="{name}"\r\nContent-Type: application/json'


def _quoted(name: str) -> str:
    return name.replace('"', "%22")


def _file(given: Any, number: int) -> tuple[str, str, memoryview | _FileOnDisk]:
    if not isinstance(given, (str, os.PathLike)):
        held = RequestFile.from_any(given, number)
        return held.name, held.content_type, held.getbuffer()
    path = os.fspath(given)
    try:
        with open(path, "rb") as source:
            size = os.fstat(source.fileno()).st_size
    except OSError:
        # Says what is wrong with it in the same words as a local run.
        RequestFile.from_any(path, number)
        raise
    return base_name(path), guess_type(path), _FileOnDisk(path, size, number)
