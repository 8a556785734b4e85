"""Reads and writes `application/x-npy`, one array as raw bytes; object arrays never.

`read_npy` is called by `payload`, `result_array` and `write_npy` by the flow service when a caller
asked for npy. Also used by the client for arrays it sends.
"""

from __future__ import annotations

import io
from functools import lru_cache
from math import prod
from typing import Any

from penstock.codec.arrays import array_family, tensor_to_array
from penstock.codec.shapes import check_shape
from penstock.core.errors import MalformedBody, ResultNotSerialisable

#: dtype kinds that travel: booleans, numbers, text, bytes, dates and durations.
_KINDS = frozenset("biufcUSMm")
_MAGIC = b"\x93NUMPY"
# What NumPy itself takes: its header parser is not safe with more.
_MAX_HEADER_BYTES = 10_000
_HINT = "Write it with numpy.save(file, array, allow_pickle=False)."


def read_npy(body: bytes | memoryview) -> Any:
    """Return the array in `body`.

    Returns:
        A read-only ndarray over the body's own bytes; a copy only where the bytes are not aligned
        or not in this machine's byte order.

    Raises:
        MalformedBody: Not npy, an object or record dtype, not as many bytes as the header says, or
            a shape that says much with no bytes (`shapes.check_shape`).
    """
    import numpy

    start = _header_end(body)
    dtype, shape, fortran = _parse_header(bytes(body[:start]))
    count = prod(shape)
    given = len(body) - start
    if count * dtype.itemsize != given:
        raise MalformedBody(
            f"The npy header says {dtype.name} {shape}, {count * dtype.itemsize} bytes; "
            f"{given} bytes follow it.",
            hint=_HINT,
        )
    if count == 0:
        return numpy.zeros(shape, dtype.newbyteorder("="))
    flat = numpy.frombuffer(body, dtype, count, start)
    if not flat.flags.aligned or not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if fortran else "C")


def write_npy(array: Any) -> bytes:
    """Return an ndarray as npy bytes, with one copy of its values.

    Raises:
        ResultNotSerialisable: It is an array of objects or records.
    """
    import numpy

    if array.dtype.kind not in _KINDS:
        raise ResultNotSerialisable(
            f"result is an array of {array.dtype.name}, which npy cannot hold without pickling.",
            hint="Ask for JSON, or return an array of numbers.",
        )
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    head = _header(array.dtype, array.shape, fortran)
    if array.nbytes == 0:
        return head
    flat = array.ravel("F" if fortran else "C")
    return b"".join((head, flat.view(numpy.uint8).data))


@lru_cache(maxsize=256)
def _header(dtype: Any, shape: tuple[int, ...], fortran: bool) -> bytes:
    # Cached: answers have the same shapes again and again.
    from numpy.lib import format as npy

    head = io.BytesIO()
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
    npy.write_array_header_1_0(head, fields)
    return head.getvalue()


def result_array(value: Any) -> Any | None:
    """Return the ndarray that a result is, or None when it is none that npy can hold.

    Tensors are converted. The caller answers with JSON when this is None.
    """
    family = array_family(type(value))
    if family == "tensor":
        value = tensor_to_array(value)
    elif family != "array":
        return None
    return value if value.dtype.kind in _KINDS else None


def _header_end(body: bytes | memoryview) -> int:
    start = bytes(body[:12])
    if start[:6] != _MAGIC or len(start) < 12:
        raise MalformedBody("The body is not npy: its first bytes are not those.", hint=_HINT)
    if start[6] not in (1, 2):
        raise MalformedBody(f"The npy format version {start[6]} is not supported.", hint=_HINT)
    width = 2 if start[6] == 1 else 4
    end = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if end > len(body) or end > _MAX_HEADER_BYTES:
        raise MalformedBody("The npy header is cut short or too long.", hint=_HINT)
    return end


@lru_cache(maxsize=256)
def _parse_header(head: bytes) -> tuple[Any, tuple[int, ...], bool]:
    # Cached: parsing takes about 40 microseconds, and callers send the same shapes again and again.
    from numpy.lib import format as npy

    source = io.BytesIO(head)
    try:
        major, _ = npy.read_magic(source)
        read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, fortran, dtype = read(source, max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # noqa: BLE001 - NumPy lets its tokenizer's many errors through
        raise MalformedBody(f"The npy header cannot be read: {error}.", hint=_HINT) from None
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.subdtype is not None:
        raise MalformedBody(
            f"The npy array has dtype {dtype.name}; objects and records are never read.",
            hint="Send an array of numbers or text.",
        )
    check_shape("The npy header", shape, dtype.itemsize)
    if not dtype.itemsize and 0 not in shape:
        raise MalformedBody(f"The npy header has values of no bytes, and the shape {shape}.")
    return dtype, shape, fortran
