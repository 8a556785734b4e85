"""Reads and writes `application/vnd.apache.arrow.stream`: a table of columns.

Only where pyarrow is installed beside the worker; it is no dependency. `read_arrow` is called by
`payload`, `write_arrow` for answers when a caller asked for Arrow. IPC streams hold no pickles.
"""

from __future__ import annotations

import struct
from typing import Any

from penstock.codec.arrays import array_family, tensor_to_array
from penstock.codec.arrow_messages import made_bytes
from penstock.codec.arrow_sizes import object_bytes
from penstock.core.errors import MalformedBody, UnsupportedMedia

ARROW = "application/vnd.apache.arrow.stream"

#: Name of the column of a result that has no columns of its own.
COLUMN = "result"

#: A stream may become this many bytes, and so many more for each of its own.
_FREE_BYTES = 8 * 1024 * 1024
_TIMES = 256


def read_arrow(body: bytes | memoryview) -> Any:
    """Return the table in `body`.

    Returns:
        A 2-D array, rows by columns, if all columns hold numbers of one type without nulls;
        otherwise a dict of columns: arrays of numbers, lists of everything else.

    Raises:
        UnsupportedMedia: pyarrow is not installed.
        MalformedBody: It is no Arrow stream, or one that says very much in few bytes.
    """
    import numpy

    try:
        import pyarrow as pa
    except ImportError:
        raise UnsupportedMedia(
            "The body is an Arrow stream, and pyarrow is not installed where this flow runs.",
            hint="Install pyarrow beside the server, or send application/x-npy or JSON.",
        ) from None
    source = pa.py_buffer(body)
    try:
        made = made_bytes(source)
        _check_size(made, source.size)
        with pa.ipc.open_stream(source) as stream:
            table = stream.read_all()
            table.validate(full=True)
            _check_size(made + _listed_bytes(table), source.size)
            # Names and values are decoded here: they may be no text, or dates that Python lacks.
            columns = {name: _column(table.column(i)) for i, name in enumerate(table.column_names)}
    except (pa.ArrowException, OSError, ValueError, OverflowError, struct.error) as error:
        raise MalformedBody(f"The body is not an Arrow stream: {error}.") from None
    if len(columns) < table.num_columns:
        raise MalformedBody("The Arrow stream has two columns of one name.")
    kinds = {getattr(column, "dtype", None) for column in columns.values()}
    if len(kinds) == 1 and None not in kinds and not any(c.null_count for c in table.columns):
        return numpy.column_stack(list(columns.values()))
    return columns


def _check_size(made: float, given: int) -> None:
    if made > _FREE_BYTES + _TIMES * given:
        raise MalformedBody(
            f"The Arrow stream of {given} bytes becomes about {made / 1e6:.0f} MB when it is read.",
            hint="Send its columns plain: not compressed, without dictionaries and columns of null,"
            " or as application/x-npy.",
        )


def _listed_bytes(table: Any) -> float:
    """Return how many bytes the columns take that become lists."""
    listed = (column for column in table.columns if not _is_array(column))
    return sum(object_bytes(chunk) for column in listed for chunk in column.chunks)


def _is_array(column: Any) -> bool:
    """Whether a column becomes an array: it holds numbers."""
    from pyarrow import types

    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind):
        return True
    return bool(types.is_boolean(kind)) and not column.null_count


def _column(column: Any) -> Any:
    """Return a column as an array if it holds numbers; null becomes NaN."""
    return column.to_numpy() if _is_array(column) else column.to_pylist()


def write_arrow(value: Any) -> bytes | None:
    """Return a result as an Arrow stream; None if it is no table or pyarrow is not installed.

    A list or 1-D array is one column, a 2-D array has columns `"0"`, `"1"`, …; a dict of equally
    long lists or arrays has its own.
    """
    try:
        import pyarrow as pa
    except ImportError:
        return None
    try:
        table = pa.table(_columns(value))
    except (pa.ArrowException, ValueError, TypeError):
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _columns(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return {str(name): _plain(column) for name, column in value.items()}
    value = _plain(value)
    if type(value) is str:
        raise TypeError("a text is no column")
    if getattr(value, "ndim", 1) == 2:
        return {str(number): value[:, number] for number in range(value.shape[1])}
    return {COLUMN: value}


def _plain(value: Any) -> Any:
    return tensor_to_array(value) if array_family(type(value)) == "tensor" else value
