"""The Open Inference Protocol v2 over REST (KServe, Triton), JSON and with the binary extension.

`read_infer` is called by `payload` in the worker for bodies of the media type that
`media_type` makes; `write_infer` by the flow service. The server process passes bytes on unread.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.codec.headers import split_parameters
from penstock.codec.light import UNREADABLE
from penstock.codec.nesting import check_nesting
from penstock.codec.oip_types import as_tensor, from_bytes, from_list, to_bytes, to_list
from penstock.codec.payload import OIP, Request, count_points
from penstock.codec.shapes import check_shape
from penstock.core.errors import InputMismatch, MalformedBody, UnsupportedMedia

#: Bytes of a value at most: shapes are looked at before datatypes.
_WIDEST = 8


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}


class InferForm(msgspec.Struct):
    """How an infer request wants its answer.

    Attributes:
        model: Name in the request's path.
        version: Version that was asked for, `""` for the active one.
        id: The request's own id.
        outputs: Name of each wanted output and whether it is to be binary; empty for all.
        binary: Whether outputs are binary that do not say.
    """

    model: str
    version: str
    id: str
    outputs: dict[str, bool]
    binary: bool


_decode = msgspec.json.Decoder(_Infer).decode
_encode = msgspec.json.Encoder().encode


def media_type(model: str, version: str, header_bytes: int) -> bytes:
    """Return the media type that tells the worker of an infer request.

    Args:
        model: Name in the request's path.
        version: Version in the path, or `""`.
        header_bytes: Length of the JSON before the binary tensors; 0 when all of it is JSON.
    """
    return f"{OIP}; model={model}; version={version or '-'}; header={header_bytes}".encode("ascii")


def read_infer(media: str, body: bytes | memoryview) -> Request:
    """Return the request in the body of an infer call.

    One input becomes the data itself, several a dict of arrays by name.

    Raises:
        MalformedBody: The body is not what the protocol says; the input is named.
        UnsupportedMedia: A tensor is in shared memory.
    """
    said = split_parameters(media)[1]
    view = memoryview(body)
    header = int(said.get("header", "0")) or len(view)
    if header > len(view):
        raise MalformedBody(
            f"Inference-Header-Content-Length is {header}; the body has {len(view)} bytes."
        )
    try:
        infer = _decode(view[:header])
    except UNREADABLE as error:
        raise MalformedBody(
            f"The body is not an infer request: {error}.",
            hint='Send {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}.',
        ) from None
    check_nesting(view[:header])
    if not infer.inputs:
        raise MalformedBody("The infer request has no inputs.")
    tensors = _tensors(infer.inputs, view[header:])
    data = tensors if len(tensors) > 1 else next(iter(tensors.values()))
    first = next(iter(tensors.values()))
    version = said.get("version", "-").removeprefix("-")
    return Request(
        data, {}, [], count_points(first), form=_form(infer, said.get("model", ""), version)
    )


def _form(infer: _Infer, model: str, version: str) -> InferForm:
    binary = bool(infer.parameters.get("binary_data_output", False))
    outputs = {o.name: bool(o.parameters.get("binary_data", binary)) for o in infer.outputs}
    return InferForm(model, version, infer.id, outputs, binary)


def _tensors(inputs: list[_Tensor], rest: memoryview) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    for given in inputs:
        _check(given, found)
        size = given.parameters.get("binary_data_size")
        if size is None:
            found[given.name] = from_list(given.name, given.datatype, given.shape, given.data)
            continue
        if type(size) is not int or size < 0 or at + size > len(rest):
            raise MalformedBody(
                f"The input {given.name!r} announces {size!r} bytes; {len(rest) - at} are left."
            )
        raw = rest[at : at + size]
        found[given.name] = from_bytes(given.name, given.datatype, given.shape, raw)
        at += size
    if at != len(rest):
        raise MalformedBody(f"{len(rest) - at} bytes behind the inputs belong to none of them.")
    return found


def _check(given: _Tensor, found: dict[str, Any]) -> None:
    if given.name in found:
        raise MalformedBody(f"The input {given.name!r} is there twice.")
    if "shared_memory_region" in given.parameters:
        raise UnsupportedMedia(
            f"The input {given.name!r} is in shared memory, which is not read here.",
            hint="Send it in the body.",
        )
    check_shape(f"The input {given.name!r}", given.shape, _WIDEST)


def write_infer(form: InferForm, value: Any, run_id: str) -> tuple[bytes, bytes | None]:
    """Return a result as the protocol's answer: its JSON, and the binary tensors or None.

    The entries of a dict are outputs by name; anything else is one output, with the name that was
    asked for or `output0`.

    Raises:
        InputMismatch: An output was asked for that the flow does not give.
        ResultNotSerialisable: Something in the result has no JSON form.
    """
    outputs, pieces = [], []
    for name, part in _parts(form, value):
        datatype, shape, values = as_tensor(part)
        told: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if form.outputs.get(name, form.binary):
            piece = to_bytes(datatype, values)
            told["parameters"] = {"binary_data_size": len(piece)}
            pieces.append(piece)
        else:
            told["data"] = to_list(datatype, values)
        outputs.append(told)
    answer: dict[str, Any] = {"model_name": form.model, "outputs": outputs}
    if form.version:
        answer["model_version"] = form.version
    answer["id"] = form.id or run_id
    return _encode(answer), b"".join(pieces) if pieces else None


def _parts(form: InferForm, value: Any) -> list[tuple[str, Any]]:
    if type(value) is not dict:
        names = list(form.outputs)
        if len(names) > 1:
            raise _no_output(names[1], ["one output"])
        return [(names[0] if names else "output0", value)]
    by_name = {str(name): part for name, part in value.items()}
    for name in form.outputs:
        if name not in by_name:
            raise _no_output(name, sorted(by_name))
    return [(name, by_name[name]) for name in form.outputs or by_name]


def _no_output(name: str, given: list[str]) -> InputMismatch:
    return InputMismatch(
        f"The output {name!r} was asked for; this flow gives {', '.join(given)}.",
        hint="Ask for those outputs, or name none to get all.",
    )
