"""Turns the body of a predict call into a `Request`: JSON, multipart, npy, or any one file.

`decode` is called by the worker for every call, so the JSON path is a handful of operations. The
server process never calls it. Nothing here unpickles.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from penstock.codec.arrow import ARROW, read_arrow
from penstock.codec.files import RequestFile, base_name, find_bytes
from penstock.codec.headers import split_parameters
from penstock.codec.json_bodies import JSON, UTF8, as_utf8, behind_bom, is_json
from penstock.codec.light import UNREADABLE
from penstock.codec.multipart import Part, parse_multipart
from penstock.codec.nesting import check_nesting
from penstock.codec.npy import read_npy
from penstock.core.errors import MalformedBody, UnsupportedMedia

NPY = "application/x-npy"
OIP = "application/vnd.penstock.oip"
MULTIPART = "multipart/form-data"

#: An object is an envelope only if it has `data` and no keys but these.
ENVELOPE = frozenset({"data", "parameters", "webhook_endpoint"})

_EXAMPLE = "for example [[5.1, 3.5, 1.4, 0.2]]"

_decode_json = msgspec.json.Decoder().decode


class Request(msgspec.Struct):
    """What a caller sent.

    Attributes:
        data: The data as sent: usually a list with one item per data point; an ndarray for npy;
            `[]` when only files were sent.
        parameters: The `parameters` object, or empty.
        files: The files in the order sent.
        count: Number of data points; see `count_points`.
        webhook_endpoint: The URL to answer to, or None.
        form: How the body wants its answer (`oip.InferForm`), or None.
    """

    data: Any
    parameters: dict[str, Any] = {}
    files: list[RequestFile] = []
    count: int = 1
    webhook_endpoint: str | None = None
    form: Any = None


def decode(media_type: str, body: bytes | memoryview) -> Request:
    """Return the request in `body`.

    Args:
        media_type: The Content-Type header; empty means JSON.
        body: The whole body. Files and arrays are views over it, so it must stay unchanged while
            the request is in use.

    Raises:
        MalformedBody: The body is not what `media_type` says; the message has the position.
        UnsupportedMedia: A pickle, or a charset that is not known.
    """
    if media_type == JSON:
        return _from_json(body)
    if media_type[:19].lower() == MULTIPART:
        return _from_multipart(split_parameters(media_type)[1].get("boundary"), body)
    kind, charset = _media(media_type)
    if kind == OIP:
        from penstock.codec.oip import read_infer

        return read_infer(media_type, body)
    if kind == ARROW:
        table = read_arrow(body)
        return Request(table, {}, [], count_points(table))
    if kind == JSON:
        return _from_json(body if charset in UTF8 else as_utf8(body, charset))
    if kind == NPY:
        array = read_npy(body)
        return Request(array, {}, [], count_points(array))
    return Request([], {}, [RequestFile(body, "file0", kind)], 1)


def count_points(data: Any) -> int:
    """Return how many data points `data` holds.

    The length of a list, the first axis of an array (1 without axes), the common length of an
    object whose values are all lists of one length (columns, ONNX inputs), otherwise 1.
    """
    kind = type(data)
    if kind is list:
        return len(data)
    if kind is dict:
        lengths = {len(v) if type(v) is list else -1 for v in data.values()}
        if len(lengths) == 1 and -1 not in lengths:
            return int(lengths.pop())
        return 1
    shape = getattr(data, "shape", None)
    return int(shape[0]) if shape else 1


@lru_cache(maxsize=256)
def _media(media_type: str) -> tuple[str, str]:
    kind, parameters = split_parameters(media_type)
    if "pickle" in kind:
        raise UnsupportedMedia(
            f"The body is {kind}; a pickle is never read, because reading it runs code.",
            hint=f"Send JSON, multipart/form-data or {NPY}.",
        )
    if is_json(kind):
        return JSON, parameters.get("charset", "").lower()
    return kind, ""


def _from_json(body: bytes | memoryview) -> Request:
    try:
        data = _decode_json(body)
    except UNREADABLE:
        data = _parse(body, "The body")
    check_nesting(body)
    if type(data) is list:
        return Request(data, {}, [], len(data))
    if type(data) is dict and "data" in data and data.keys() <= ENVELOPE:
        return _from_envelope(data, body)
    return Request(data, {}, [], count_points(data))


def _from_envelope(sent: dict[str, Any], body: bytes | memoryview) -> Request:
    data = sent["data"]
    parameters = _check_parameters(sent.get("parameters"))
    webhook = sent.get("webhook_endpoint")
    if webhook is not None and type(webhook) is not str:
        raise MalformedBody(f"webhook_endpoint is {webhook!r}; it must be a URL as text.")
    if webhook is not None and find_bytes(memoryview(body), b"webhook_endpoint", 0) < 0:
        raise MalformedBody(  # the server looks for the plain word, and took this for a call
            "The name webhook_endpoint is written with escapes.", hint="Write it plainly."
        )
    return Request(data, parameters, [], count_points(data), webhook)


def _check_parameters(parameters: Any) -> dict[str, Any]:
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise MalformedBody(f"parameters is a JSON {_json_kind(parameters)}, not an object.")
    return parameters


def _json_kind(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", dict: "object"}
    return names.get(type(value), "number")


def _from_multipart(boundary: str | None, body: bytes | memoryview) -> Request:
    view = memoryview(body)
    files: list[RequestFile] = []
    fields: dict[str, memoryview] = {}
    for part in parse_multipart(boundary, body):
        content = view[part.start : part.end]
        if part.filename is not None or _is_file_field(part.name):
            # A browser sends an empty part without a name for a file field left empty.
            if part.filename or part.end > part.start:
                files.append(_file(part, content, len(files)))
        elif part.name not in ENVELOPE:
            raise MalformedBody(
                f"The multipart body has an unknown field {part.name!r}.",
                hint="The fields are data and parameters (JSON text), webhook_endpoint, and files.",
            )
        elif part.name in fields:
            raise MalformedBody(f"The multipart body has the field {part.name!r} twice.")
        else:
            fields[part.name] = content
    return _from_fields(fields, files)


def _is_file_field(name: str) -> bool:
    return name == "files" or (name[:4] == "file" and name[4:].isdecimal())


def _file(part: Part, content: memoryview, number: int) -> RequestFile:
    return RequestFile(content, base_name(part.filename or "", f"file{number}"), part.content_type)


def _from_fields(fields: dict[str, memoryview], files: list[RequestFile]) -> Request:
    if "data" not in fields and not files:
        raise MalformedBody(
            "The multipart body has neither a data field nor files.",
            hint="Send the data as JSON text in the field data, and files in the field files.",
        )
    data = _parse(fields["data"], "The data field") if "data" in fields else []
    parameters: Any = None
    if "parameters" in fields:
        parameters = _parse(fields["parameters"], "The parameters field")
    webhook = fields.get("webhook_endpoint")
    return Request(
        data,
        _check_parameters(parameters),
        files,
        count_points(data) or len(files),
        None if webhook is None else str(webhook, "utf-8", "replace").strip() or None,
    )


def _parse(body: bytes | memoryview, what: str, *, first: bool = True) -> Any:
    try:
        data = _decode_json(body)
    except UNREADABLE as error:
        rest = behind_bom(body) if first else None
        if rest is not None:
            return _parse(rest, what, first=False)
        raise _malformed(bytes(body), what, error) from None
    check_nesting(body, what)
    return data


def _malformed(raw: bytes, what: str, error: Exception) -> MalformedBody:
    if not raw.strip():
        return MalformedBody(f"{what} is empty.", hint=f"Send JSON, {_EXAMPLE}.")
    if isinstance(error, RecursionError):
        return MalformedBody(f"{what} is nested too deeply.", hint="Send flatter data.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        return MalformedBody(
            f"{what} is not UTF-8: byte {raw[bad.start]:#04x} at position {bad.start}.",
            hint="Send JSON in UTF-8.",
        )
    reason = str(error).removeprefix("JSON is malformed: ")
    hint = f"Send JSON, {_EXAMPLE}."
    if b"NaN" in raw or b"Infinity" in raw:
        hint = "JSON has no NaN and no Infinity; send null instead, or the array as npy."
    return MalformedBody(f"{what} is not valid JSON: {reason}.", hint=hint)
