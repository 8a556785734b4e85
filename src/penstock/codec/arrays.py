"""Recognises NumPy arrays and torch tensors without importing either.

A value can only be an array if NumPy was imported by somebody, so the modules already loaded are
asked. Used by everything in `codec` that turns such values into JSON or npy.
"""

from __future__ import annotations

import sys
from typing import Any

#: dtype kinds that have a JSON form: floats, integers, booleans, text, times.
LISTED_KINDS = frozenset("fiubUM")

_modules = sys.modules


def array_family(kind: type) -> str | None:
    """Return what a type is.

    `"number"` for the NumPy scalars whose `item()` is a Python number, `"scalar"` for other NumPy
    scalars, `"array"` for NumPy arrays, `"tensor"` for torch tensors, None for any other type.
    """
    numpy = _modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.ndarray):
        return "array"
    if numpy is not None and issubclass(kind, numpy.generic):
        usual = (numpy.bool_, numpy.integer, numpy.float16, numpy.float32, numpy.float64)
        # NumPy files durations under integers.
        number = issubclass(kind, usual) and not issubclass(kind, numpy.timedelta64)
        return "number" if number else "scalar"
    tensor: Any = getattr(_modules.get("torch"), "Tensor", None)
    return "tensor" if tensor is not None and issubclass(kind, tensor) else None


def tensor_to_array(tensor: Any) -> Any:
    """Return a torch tensor as a NumPy array on the CPU, sharing memory where it can.

    Gradients are left behind, sparse tensors are expanded, and dtypes NumPy does not
    have (bfloat16, float8) become float32.

    Raises:
        TypeError, RuntimeError: The tensor has no values to read (a meta tensor).
    """
    found = tensor.detach()
    if str(found.layout) != "torch.strided":
        found = found.to_dense()
    found = found.cpu().resolve_conj().resolve_neg()
    try:
        return found.numpy()
    except TypeError:
        return found.float().numpy()


def array_to_lists(array: Any) -> Any:
    """Return an array whose dtype kind is in `LISTED_KINDS` as nested lists (a scalar for 0-d).

    Times become ISO 8601 text, `NaT` becomes None, extended precision is rounded to float64.
    """
    kind = array.dtype.kind
    if kind == "M":
        return _times_to_lists(array)
    if kind == "f" and array.dtype.itemsize > 8:
        array = array.astype("float64")
    return array.tolist()


def _times_to_lists(array: Any) -> Any:
    import numpy

    texts = numpy.datetime_as_string(array).astype(object)
    found: Any = numpy.where(numpy.isnat(array), None, texts)
    return found.tolist()
