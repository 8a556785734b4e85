"""Infer requests of the Open Inference Protocol: tensors in, tensors out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from little_memory import at_most

from penstock.codec.oip import InferForm, media_type, write_infer
from penstock.codec.oip_types import DATATYPES
from penstock.codec.payload import Request, decode
from penstock.core.errors import InputMismatch, MalformedBody, UnsupportedMedia

DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def ask(*inputs: dict[str, Any], binary: bytes = b"", **more: Any) -> Request:
    head = json.dumps({"inputs": inputs, **more}).encode()
    media = media_type("m", "", len(head) if binary else 0)
    return decode(media.decode(), head + binary)


def tensor(name: str, shape: list[int], datatype: str, data: Any = None, size: int = -1) -> Any:
    told: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if size >= 0:
        return {**told, "parameters": {"binary_data_size": size}}
    return {**told, "data": data}


@pytest.mark.parametrize("dtype", DATATYPES)
def test_every_datatype_travels_both_ways(dtype: str) -> None:
    array = np.array([[0, 1], [2, 3]]).astype(dtype)
    form = InferForm("m", "", "", {}, binary=True)
    head, binary = write_infer(form, array, "run")
    assert binary == array.tobytes()
    told = json.loads(head)["outputs"][0]
    found = ask(tensor("x", told["shape"], told["datatype"], size=len(binary)), binary=binary).data
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    listed = ask(tensor("x", told["shape"], told["datatype"], array.tolist())).data
    assert listed.dtype == array.dtype
    assert np.array_equal(listed, array)


def test_a_binary_tensor_is_a_view_of_the_body_and_read_only() -> None:
    raw = np.arange(4, dtype=np.float64).tobytes()
    head = json.dumps({"inputs": [tensor("x", [4], "FP64", size=32)]}).encode()
    head += b" " * (-len(head) % 8)
    found = decode(media_type("m", "", len(head)).decode(), head + raw).data
    assert not found.flags.owndata
    assert not found.flags.writeable


def test_flat_and_nested_data_are_the_same() -> None:
    flat = ask(tensor("x", [2, 2], "INT64", [1, 2, 3, 4])).data
    nested = ask(tensor("x", [2, 2], "INT64", [[1, 2], [3, 4]])).data
    assert flat.tolist() == nested.tolist() == [[1, 2], [3, 4]]


def test_texts_are_lists_of_text() -> None:
    assert ask(tensor("x", [2, 1], "BYTES", ["a", "b"])).data == [["a"], ["b"]]
    raw = b"\x02\x00\x00\x00\xc3\xa9\x01\x00\x00\x00\xff"
    assert ask(tensor("x", [2], "BYTES", size=len(raw)), binary=raw).data == ["é", b"\xff"]


def test_rows_of_the_first_input_are_counted() -> None:
    assert ask(tensor("x", [3, 1], "FP32", [1, 2, 3])).count == 3
    both = ask(tensor("x", [2], "FP32", [1, 2]), tensor("y", [2], "FP32", [3, 4]))
    assert sorted(both.data) == ["x", "y"]
    assert both.count == 2


@pytest.mark.parametrize(
    "bad",
    [
        tensor("x", [2], "FP32", ["a", "b"]),
        tensor("x", [2], "UINT8", [1, 300]),
        tensor("x", [-1], "FP32", [1]),
        tensor("x", [1] * 33, "FP32", [1]),
        tensor("x", [2], "BYTES", ["a"]),
        tensor("x", [1], "FP32"),
        tensor("x", [1], "INT32", [1.5]),
        tensor("x", [1], "BOOL", [7]),
        tensor("x", [10**12], "BYTES", []),
        tensor("x", [2], "FP32", size=4),
        {"name": "x", "shape": [1]},
    ],
)
def test_values_that_do_not_fit_are_refused(bad: Any) -> None:
    with pytest.raises(MalformedBody):
        ask(bad, binary=b"\x00" * bad.get("parameters", {}).get("binary_data_size", 0))


@pytest.mark.parametrize(
    "bad",
    [
        tensor("x", [10**9, 0], "BYTES", []),
        tensor("x", [10**9, 0], "BYTES", size=0),
        tensor("x", [10**5, 10**5, 0], "BYTES", []),
        tensor("x", [10**12, 0], "FP64", []),
        tensor("x", [0, 10**12], "FP64", []),
        tensor("x", [0, 2**62, 2**62], "FP64", size=0),
        tensor("x", [0, 2**70], "FP64", size=0),
        tensor("x", [10**4000, 10**4000], "FP64", size=8),
        tensor("x", [1] * 65, "FP64", size=8),
        tensor("x", [10**5] + [1] * 31, "BYTES", [""] * 10**5),
        tensor("x", [20_001], "FP32", ["7" * 100_000] + [1] * 20_000),
        tensor("x", [20_001], "FP32", ["7" + " " * 100_000] + [1] * 20_000),
    ],
    ids=lambda bad: f"{bad['datatype']} {str(bad['shape'])[:20]}",
)
def test_a_tensor_that_says_much_with_few_bytes_is_refused(bad: Any) -> None:
    with at_most(), pytest.raises(MalformedBody) as caught:
        ask(bad, binary=b"\x00" * bad.get("parameters", {}).get("binary_data_size", 0))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("shape", [[0], [0, 784], [3, 0], [0, 3, 1024, 1024]])
def test_an_empty_batch_is_read(shape: list[int]) -> None:
    found = ask(tensor("x", shape, "FP32", []))
    assert (found.data.shape, found.count) == (tuple(shape), shape[0])
    texts = ask(tensor("x", shape, "BYTES", [])).data
    assert texts == [[]] * shape[0]


@pytest.mark.parametrize(
    ("datatype", "values", "fits"),
    [
        ("INT8", [1, 2], True),
        ("INT8", [1, 2.5], False),
        ("UINT64", [2**64 - 1, 1], True),
        ("UINT64", [-1], False),
        ("FP32", [[1], [2.5]], True),
        ("FP32", [1e300, 10**60], True),
        ("FP32", [[1], ["2.5"]], False),
        ("FP32", [1, None], False),
        ("FP32", [{}, 1], False),
        ("BOOL", [[True], [False]], True),
        ("BOOL", [1, 0], False),
        ("INT8", [True, False], False),
        ("FP32", [[1], 2], False),
    ],
)
def test_a_datatype_takes_what_needs_no_rounding(datatype: str, values: Any, fits: bool) -> None:
    given = tensor("x", [2 if len(values) == 2 else 1], datatype, values)
    if fits:
        with np.errstate(over="ignore"):
            expected = np.array(values, DTYPES[datatype]).ravel().tolist()
        assert ask(given).data.tolist() == expected
    else:
        with pytest.raises(MalformedBody, match=f"are not {datatype}"):
            ask(given)


def test_bytes_that_belong_to_no_input_are_refused() -> None:
    with pytest.raises(MalformedBody, match="belong to none"):
        ask(tensor("x", [1], "FP32", size=4), binary=b"\x00" * 8)


def test_texts_cut_short_are_refused() -> None:
    for raw in (b"\x05\x00\x00\x00ab", b"\x01\x00"):
        with pytest.raises(MalformedBody, match="cut short"):
            ask(tensor("x", [1], "BYTES", size=len(raw)), binary=raw)


def test_shared_memory_is_refused_with_what_to_do() -> None:
    given = {**tensor("x", [1], "FP32"), "parameters": {"shared_memory_region": "r"}}
    with pytest.raises(UnsupportedMedia, match="shared memory"):
        ask(given)


def test_an_output_that_is_not_there_is_named() -> None:
    form = InferForm("m", "", "", {"z": False}, binary=False)
    with pytest.raises(InputMismatch, match="'z'"):
        write_infer(form, {"a": [1]}, "run")


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "data"),
    [
        ([1, 2], "INT64", [2], [1, 2]),
        ([[1.5], [2.5]], "FP64", [2, 1], [1.5, 2.5]),
        (3.5, "FP64", [1], [3.5]),
        ("text", "BYTES", [1], ["text"]),
        ([True], "BOOL", [1], [True]),
        ([{"a": 1}, {"b": 2}], "BYTES", [2], ['{"a":1}', '{"b":2}']),
        ([[1], [2, 3]], "BYTES", [2], ["[1]", "[2,3]"]),
        ([None, 1.5, "x"], "BYTES", [3], ["null", "1.5", "x"]),
    ],
)
def test_any_result_has_a_tensor(value: Any, datatype: str, shape: Any, data: Any) -> None:
    head, binary = write_infer(InferForm("m", "2", "i", {}, binary=False), value, "run")
    told = json.loads(head)
    output = told["outputs"][0]
    assert binary is None
    assert (output["datatype"], output["shape"], output["data"]) == (datatype, shape, data)
    assert (told["model_name"], told["model_version"], told["id"]) == ("m", "2", "i")
