"""How many bytes the values of an Arrow array take as Python objects, found before they are made.

Nulls, dictionaries, run ends and views say much in few bytes; so do lists of values of no width.
`arrow` calls `object_bytes` for each column that becomes a list. The layouts are those of Arrow's
columnar format 1.5; arrays are told by the names of their classes, of which older versions of
pyarrow have fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: About what a small object takes in a list, and what None, True and False do.
_OBJECT = 64
_PLACE = 8

_TEXTS = frozenset({"StringArray", "BinaryArray", "LargeStringArray", "LargeBinaryArray"})
_VIEWS = frozenset({"StringViewArray", "BinaryViewArray"})


def object_bytes(array: Any) -> float:
    """Return about how many bytes the values of an array take as Python objects, rather too many.

    Args:
        array: An Arrow array that was validated.
    """
    kind = type(array).__name__
    if hasattr(array, "storage"):  # of a type that is an extension
        return object_bytes(array.storage)
    if kind in _TEXTS or kind in _VIEWS:
        return float(_each(array).sum())
    measure = _MEASURES.get(kind)
    return measure(array) if measure is not None else float(_OBJECT * len(array) + array.nbytes)


def _places(array: Any) -> float:
    return _PLACE * len(array)


def _lists(array: Any) -> float:
    return _OBJECT * len(array) + object_bytes(array.values)


def _struct(array: Any) -> float:
    fields = (object_bytes(array.field(i)) for i in range(array.type.num_fields))
    return _OBJECT * len(array) + sum(fields)


def _union(array: Any) -> float:
    return _struct(array) * max(1, len(array))  # its values may all be the largest one


def _dictionary(array: Any) -> float:
    each = _each(array.dictionary)
    named = each[_numbers(array.indices)].sum() if len(each) else 0.0
    return _PLACE * len(array) + float(named)


def _runs(array: Any) -> float:
    import numpy

    ends = array.run_ends.to_numpy().astype(float)
    return float((_each(array.values) * numpy.diff(ends, prepend=0.0)).sum())


def _list_views(array: Any) -> float:
    """Return what the lists of an array take, whose values may be in many of them."""
    import numpy

    upto = numpy.concatenate([[0.0], numpy.cumsum(_each(array.values))])
    begins = _numbers(array.offsets).astype(numpy.int64)
    ends = begins + _numbers(array.sizes)
    last = len(upto) - 1
    spans = upto[numpy.clip(ends, 0, last)] - upto[numpy.clip(begins, 0, last)]
    return _OBJECT * len(array) + float(spans.sum())


_MEASURES: dict[str, Callable[[Any], float]] = {
    "NullArray": _places,
    "BooleanArray": _places,
    "ListArray": _lists,
    "LargeListArray": _lists,
    "FixedSizeListArray": _lists,
    "MapArray": _lists,
    "StructArray": _struct,
    "UnionArray": _union,
    "DictionaryArray": _dictionary,
    "RunEndEncodedArray": _runs,
    "ListViewArray": _list_views,
    "LargeListViewArray": _list_views,
}


def _each(values: Any) -> Any:
    """Return what each value of an array takes in bytes; of nested ones, what all of them take."""
    import numpy

    kind, count = type(values).__name__, len(values)
    if not count:
        return numpy.zeros(0)
    if hasattr(values, "storage"):
        return _each(values.storage)
    if kind in _VIEWS:
        return _OBJECT + _view_lengths(values)
    if kind in _TEXTS:
        from pyarrow import compute

        return _OBJECT + _numbers(compute.binary_length(values)).astype(float)
    alike = kind in {"NullArray", "BooleanArray"} or kind not in _MEASURES
    whole = object_bytes(values)
    # No memory for each: there may be any number of values without bytes.
    return numpy.broadcast_to(numpy.float64(whole / count if alike else whole), count)


def _view_lengths(values: Any) -> Any:
    """Return the lengths of texts, each of which is written at the beginning of its view."""
    import numpy

    views = numpy.frombuffer(values.buffers()[1], numpy.int32).reshape(-1, 4)
    lengths = views[values.offset :][: len(values), 0]
    return numpy.where(values.is_valid().to_numpy(zero_copy_only=False), lengths, 0.0)


def _numbers(array: Any) -> Any:
    return array.fill_null(0).to_numpy(zero_copy_only=False)
