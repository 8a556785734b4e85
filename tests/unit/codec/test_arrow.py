"""Arrow streams: tables in, tables out, and a clear word where pyarrow is missing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from penstock.codec.arrow import ARROW, read_arrow, write_arrow
from penstock.codec.payload import decode
from penstock.core.errors import MalformedBody, UnsupportedMedia


def stream(**columns: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
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
