"""Arrow streams: tables in, tables out, and a clear word where pyarrow is missing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from little_memory import GIB, at_most

from penstock.codec.arrow import ARROW, read_arrow, write_arrow
from penstock.codec.arrow_messages import made_bytes
from penstock.codec.arrow_sizes import object_bytes
from penstock.codec.payload import decode
from penstock.core.errors import MalformedBody, UnsupportedMedia


def stream(options: Any = None, **columns: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as out:
        out.write_table(table)
    return bytes(sink.getvalue())


def read_back(body: bytes | None) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    assert body is not None
    with pa.ipc.open_stream(body) as found:
        columns: dict[str, Any] = found.read_all().to_pydict()
        return columns


def test_columns_of_one_number_type_are_one_array() -> None:
    request = decode(ARROW, stream(a=np.float32([1, 2, 3]), b=np.float32([4, 5, 6])))
    assert request.data.dtype == np.float32
    assert request.data.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert request.count == 3


def test_mixed_columns_are_a_dict() -> None:
    found = read_arrow(stream(a=[1, 2], b=["x", None], c=[1.5, 2.5]))
    assert found["a"].tolist() == [1, 2]
    assert found["b"] == ["x", None]
    assert found["c"].tolist() == [1.5, 2.5]


def test_null_numbers_become_nan() -> None:
    found = read_arrow(stream(a=[1, None], b=[3, 4]))
    assert np.isnan(found["a"][1])


@pytest.mark.parametrize("body", [b"", b"no arrow at all", b"\xff\xff\xff\xff\x10\x00\x00\x00"])
def test_a_body_that_is_no_stream_is_refused(body: bytes) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(MalformedBody, match="Arrow"):
        read_arrow(body)


def test_a_stream_cut_short_is_refused() -> None:
    whole = stream(a=list(range(1000)))
    for size in range(8, len(whole) - 16, 97):
        with pytest.raises(MalformedBody, match="Arrow"):
            read_arrow(whole[:size])


def test_results_that_are_tables_are_written() -> None:
    assert read_back(write_arrow(np.array([[1, 2], [3, 4]]))) == {"0": [1, 3], "1": [2, 4]}
    assert read_back(write_arrow([1.5, 2.5])) == {"result": [1.5, 2.5]}
    assert read_back(write_arrow({"a": np.array([1, 2]), "b": ["x", "y"]})) == {
        "a": [1, 2],
        "b": ["x", "y"],
    }


@pytest.mark.parametrize("value", [{"a": [1], "b": [1, 2]}, "text", 3, np.zeros((2, 2, 2))])
def test_results_that_are_no_table_are_left_to_json(value: Any) -> None:
    pytest.importorskip("pyarrow")
    assert write_arrow(value) is None


def test_without_pyarrow_the_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedMedia, match="pyarrow is not installed") as caught:
        decode(ARROW, b"x")
    assert "Install pyarrow" in str(caught.value.hint)
    assert write_arrow([1]) is None


def test_names_and_values_that_python_cannot_hold_are_the_callers_fault() -> None:
    pa = pytest.importorskip("pyarrow")
    for body in (
        stream(a=[1], b=["x"]).replace(b"\x01\x00\x00\x00b\x00", b"\x01\x00\x00\x00\x9b\x00"),
        stream(a=pa.array([2**62], pa.timestamp("s"))),
    ):
        with pytest.raises(MalformedBody, match="not an Arrow stream"):
            read_arrow(body)


def test_two_columns_of_one_name_are_refused() -> None:
    pa = pytest.importorskip("pyarrow")
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    with pytest.raises(MalformedBody, match="two columns of one name"):
        read_arrow(bytes(sink.getvalue()))


MANY = 10**9


def same_views(pa: Any, count: int, size: int) -> Any:
    """Texts that are all the same bytes."""
    views = np.zeros((count, 4), np.int32)
    views[:, 0] = size
    views[:, 1] = int.from_bytes(b"xxxx", "little")
    buffers = [None, pa.py_buffer(views), pa.py_buffer(b"x" * size)]
    return pa.Array.from_buffers(pa.string_view(), count, buffers)


def without_bytes(pa: Any, kind: Any, *children: Any) -> Any:
    buffers = [None] if children or pa.types.is_struct(kind) else [None, pa.py_buffer(b"")]
    return pa.Array.from_buffers(kind, MANY, buffers, children=list(children))


def overlapping_lists(pa: Any, count: int) -> Any:
    """Lists that are each the same `count` values."""
    begins, sizes = np.zeros(count, np.int32), np.full(count, count, np.int32)
    return pa.ListViewArray.from_arrays(pa.array(begins), pa.array(sizes), pa.array(begins))


@pytest.mark.parametrize(
    "make",
    [
        lambda pa: pa.nulls(MANY),
        lambda pa: without_bytes(pa, pa.binary(0)),
        lambda pa: without_bytes(pa, pa.struct([])),
        lambda pa: without_bytes(pa, pa.list_(pa.int8(), 0), pa.array([], pa.int8())),
        lambda pa: pa.FixedSizeListArray.from_arrays(pa.nulls(MANY), MANY),
        lambda pa: pa.RunEndEncodedArray.from_arrays([MANY], ["a"]),
        lambda pa: pa.RunEndEncodedArray.from_arrays([MANY], pa.array([{"a": 1}])),
        lambda pa: pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int8), ["x" * 10**5]),
        lambda pa: pa.StructArray.from_arrays(
            [pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int8), ["x" * 10**5])], ["a"]
        ),
        lambda pa: same_views(pa, 10**5, 10**5),
        lambda pa: overlapping_lists(pa, 10**4),
    ],
    ids=["null", "binary0", "struct0", "list0", "nulls", "runs", "run structs", "words",
         "words inside", "views", "list views"],
)  # fmt: skip
def test_a_column_that_says_much_in_few_bytes_is_refused(make: Any) -> None:
    body = stream(a=make(pytest.importorskip("pyarrow")))
    assert len(body) < 2_000_000
    with at_most(2 * GIB), pytest.raises(MalformedBody, match="when it is read"):
        decode(ARROW, body)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_stream_is_read_unless_it_is_a_bomb(codec: str) -> None:
    pa = pytest.importorskip("pyarrow")
    options = pa.ipc.IpcWriteOptions(compression=codec)
    values = np.arange(10_000.0) % 100
    body = stream(options, a=values, b=values)
    assert len(body) < values.nbytes
    assert np.array_equal(read_arrow(body)[:, 0], values)
    assert made_bytes(pa.py_buffer(body)) == 2 * values.nbytes
    words = pa.array(["a", "b"] * 500).dictionary_encode()
    assert read_arrow(stream(options, a=words))["a"] == ["a", "b"] * 500
    bomb = stream(options, a=np.zeros(10_000_000))
    if codec == "zstd":
        with at_most(), pytest.raises(MalformedBody, match="when it is read"):
            read_arrow(bomb)


def test_a_dictionary_that_grows_counts_for_each_time_it_did() -> None:
    pa = pytest.importorskip("pyarrow")
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    sink = pa.BufferOutputStream()
    words = [f"word {number}" for number in range(100)]
    batches = [
        pa.record_batch([pa.DictionaryArray.from_arrays([0], words[: number + 1])], ["a"])
        for number in range(100)
    ]
    with pa.ipc.new_stream(sink, batches[0].schema, options=options) as out:
        for batch in batches:
            out.write_batch(batch)
    body = sink.getvalue()
    assert made_bytes(body) > 99 * 100 / 2 * len(words[0])
    assert read_arrow(bytes(body)) == {"a": [words[0]] * 100}


@pytest.mark.parametrize(
    "make",
    [
        lambda pa: pa.nulls(1000),
        lambda pa: pa.array(["a", None, "c" * 50], pa.string_view()),
        lambda pa: pa.array([["a"], None, ["c" * 50, "d"]], pa.list_(pa.string_view())),
        lambda pa: pa.array([["a"], None, ["c" * 50, "d"]], pa.list_view(pa.string())),
        lambda pa: pa.array(["a", None, "a"]).dictionary_encode(),
        lambda pa: pa.RunEndEncodedArray.from_arrays([3, 5], ["a", None]),
        lambda pa: pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
        lambda pa: pa.array([{"a": True}, None, {"a": None}]),
        lambda pa: pa.array([True, None]),
        lambda pa: pa.array([], pa.string_view()),
        lambda pa: pa.array([], pa.dictionary(pa.int8(), pa.string())),
    ],
)
def test_honest_columns_of_every_layout_are_read(make: Any) -> None:
    array = make(pytest.importorskip("pyarrow"))
    assert read_arrow(stream(a=array)) == {"a": array.to_pylist()}
    assert 8 * len(array) <= object_bytes(array) < 1000 * (1 + len(array))
