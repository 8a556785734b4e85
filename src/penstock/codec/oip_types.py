"""Tensors as the Open Inference Protocol writes them: datatype names and bytes.

Used by `oip` only. NumPy is imported inside functions.
"""

from __future__ import annotations

import struct
from itertools import chain
from math import prod
from typing import Any

from penstock.codec.arrays import array_family, tensor_to_array
from penstock.codec.results import encode_json, to_plain
from penstock.codec.shapes import MOST_EMPTY_LISTS, count_lists
from penstock.core.errors import MalformedBody

#: Datatype of the protocol by NumPy dtype name.
DATATYPES: dict[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
#: Widest types of JSON values that a datatype takes, by its NumPy kind: nothing is rounded.
_TAKES: dict[str, tuple[type, ...]] = {
    "b": (bool,), "i": (int,), "u": (int,), "f": (int, float)
}  # fmt: skip

#: Lists around one text: shapes that make more, once they make many, are refused.
_LISTS_PER_TEXT = 4

_LENGTH = struct.Struct("<I")


def from_list(name: str, datatype: str, shape: list[int], values: Any) -> Any:
    """Return a tensor from its JSON values, flat or nested.

    Returns:
        An ndarray; nested lists of text for `BYTES`.

    Raises:
        MalformedBody: The values do not fit datatype or shape.
    """
    import numpy

    if type(values) is not list:
        raise MalformedBody(f"The input {name!r} has no list of data.")
    try:
        if datatype == "BYTES":
            return _nested(name, shape, list(_flat(values)))
        dtype = numpy.dtype(_dtype(name, datatype))
        _check_types(dtype.kind, values)
        with numpy.errstate(over="ignore"):  # numbers beyond all of a datatype are infinite
            return numpy.asarray(values, dtype).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedBody(
            f"The values of the input {name!r} are not {datatype} of shape {shape}: {error}."
        ) from None


def _check_types(kind: str, values: list[Any]) -> None:
    """Look at the values before NumPy does, which makes each as wide as the longest text.

    Raises:
        ValueError: They are not what a dtype of `kind` takes.
    """
    found = _types(values)
    widest = next((one for one in (float, int, bool) if one in found), None)
    if found and (widest not in _TAKES[kind] or found - {float, int, bool}):
        raise ValueError(f"they are {', '.join(sorted(one.__name__ for one in found))}")


def _types(values: list[Any]) -> set[type]:
    """Return the types of the values in nested lists."""
    found: set[type] = set()
    level = [values]
    while level:
        here = set(map(type, chain.from_iterable(level)))
        level = [row for rows in level for row in rows if type(row) is list] if list in here else []
        found |= here
    return found - {list}


def _nested(name: str, shape: list[int], texts: list[Any]) -> Any:
    """Return texts as nested lists of a shape.

    Raises:
        MalformedBody: The shape makes far more lists than there are texts.
        ValueError: It has not as many places.
    """
    import numpy

    held = numpy.empty(len(texts), object)  # as many as there are, whatever was announced
    held[:] = texts
    found = held.reshape(shape)
    if count_lists(shape) > MOST_EMPTY_LISTS + _LISTS_PER_TEXT * len(texts):
        raise MalformedBody(
            f"The input {name!r} of shape {shape} is too many lists for {len(texts)} elements.",
            hint="Leave out axes of length 1.",
        )
    return found.tolist()


def _flat(values: Any) -> Any:
    for value in values:
        if type(value) is list:
            yield from _flat(value)
        else:
            yield value


def from_bytes(name: str, datatype: str, shape: list[int], raw: memoryview) -> Any:
    """Return a tensor over its own bytes (row-major, little-endian), copied only if unaligned.

    Raises:
        MalformedBody: Not as many bytes as datatype and shape need.
    """
    import numpy

    if datatype == "BYTES":
        texts = _split(name, raw)
        if len(texts) != prod(shape):
            raise MalformedBody(
                f"The input {name!r} has {len(texts)} elements; shape {shape} needs {prod(shape)}."
            )
        return _nested(name, shape, texts)
    dtype = numpy.dtype(_dtype(name, datatype)).newbyteorder("<")
    if len(raw) != prod(shape) * dtype.itemsize:
        raise MalformedBody(
            f"The input {name!r} has {len(raw)} bytes; {datatype} of shape {shape} needs "
            f"{prod(shape) * dtype.itemsize}."
        )
    array = numpy.frombuffer(raw, dtype)
    if not array.flags.aligned or not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    array.flags.writeable = False
    return array.reshape(shape)


def _dtype(name: str, datatype: str) -> str:
    found = _DTYPES.get(datatype)
    if found is None:
        raise MalformedBody(
            f"The input {name!r} has the datatype {datatype[:20]!r}, which is not read here.",
            hint=f"Send {', '.join(DATATYPES.values())} or BYTES.",
        )
    return found


def _split(name: str, raw: memoryview) -> list[str | bytes]:
    out: list[str | bytes] = []
    at = 0
    while at < len(raw):
        end = at + 4
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            raise MalformedBody(f"The elements of the input {name!r} are cut short.")
        element = bytes(raw[at + 4 : end])
        try:
            out.append(element.decode("utf-8"))
        except UnicodeDecodeError:
            out.append(element)
        at = end
    return out


def as_tensor(value: Any) -> tuple[str, list[int], Any]:
    """Return datatype, shape and array (for `BYTES` a list of bytes) of a part of a result.

    Numbers stay what they are; text is `BYTES`; whatever is no tensor is `BYTES` holding the JSON
    text of each element.

    Raises:
        ResultNotSerialisable: Something in it has no JSON form.
    """
    import numpy

    family = array_family(type(value))
    if family == "tensor":
        value = tensor_to_array(value)
    elif family is None:
        value = to_plain(value)
        if type(value) is dict:
            value = [value]
    try:
        array = numpy.asarray(value)
    except ValueError:  # rows of different lengths
        array = numpy.empty(0, object)
    datatype = DATATYPES.get(array.dtype.name)
    if datatype is not None:
        return datatype, list(array.shape), array
    if array.dtype.kind == "U":
        return "BYTES", list(array.shape), [text.encode() for text in array.ravel().tolist()]
    plain = to_plain(value)
    return "BYTES", [len(plain)], [_text(item) for item in plain]


def _text(item: Any) -> bytes:
    return item.encode() if type(item) is str else encode_one(item)


def encode_one(item: Any) -> bytes:
    """Return one value as JSON text, a scalar without brackets."""
    body = encode_json(item)
    return body if type(item) in (dict, list) else body[1:-1]


def to_bytes(datatype: str, values: Any) -> bytes:
    """Return a tensor of `as_tensor` as the protocol's bytes."""
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(text)) + text for text in values)
    little: bytes = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return little


def to_list(datatype: str, values: Any) -> list[Any]:
    """Return a tensor of `as_tensor` as flat JSON values."""
    if datatype == "BYTES":
        return [text.decode("utf-8", "replace") for text in values]
    flat: list[Any] = values.ravel().tolist()
    return flat
