"""Arrays as npy bytes: in place, checked, never objects."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from little_memory import at_most

from penstock.codec.npy import read_npy, result_array, write_npy
from penstock.codec.payload import decode
from penstock.core.errors import MalformedBody, ResultNotSerialisable


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=True)
    return out.getvalue()


def announced(shape: tuple[int, ...], dtype: str, values: bytes = b"") -> bytes:
    out = io.BytesIO()
    told = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, told)
    return out.getvalue() + values


def refused(raw: bytes) -> str:
    with pytest.raises(MalformedBody) as caught:
        read_npy(raw)
    return str(caught.value)


@settings(max_examples=60)
@given(
    hnp.arrays(
        hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes()
        | hnp.complex_number_dtypes()
        | hnp.unicode_string_dtypes() | hnp.byte_string_dtypes() | hnp.datetime64_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.booleans(),
    st.integers(0, 9),
)  # fmt: skip
def test_arrays_survive_both_ways(array: np.ndarray, fortran: bool, shift: int) -> None:
    array = np.asfortranarray(array) if fortran else array
    for raw in (saved(array), write_npy(array)):
        shifted = memoryview(bytes(shift) + raw)[shift:]
        for body in (raw, shifted):
            back = read_npy(body)
            np.testing.assert_array_equal(back, array)
            assert back.shape == array.shape
            assert back.dtype == array.dtype.newbyteorder("=")
            assert back.flags.aligned
    np.testing.assert_array_equal(np.load(io.BytesIO(write_npy(array))), array)


def test_the_values_are_not_copied_and_not_writable() -> None:
    raw = saved(np.arange(6.0).reshape(2, 3))
    array = read_npy(raw)
    assert np.shares_memory(array, np.frombuffer(raw, np.uint8))
    assert not array.flags.writeable


def test_the_second_format_version_is_read() -> None:
    np.testing.assert_array_equal(read_npy(saved(np.arange(3), (2, 0))), np.arange(3))


def test_a_view_with_strides_is_written_whole() -> None:
    array = np.arange(20).reshape(4, 5)[::2, ::-1]
    np.testing.assert_array_equal(np.load(io.BytesIO(write_npy(array))), array)


def test_objects_and_records_are_refused() -> None:
    assert "dtype object" in refused(saved(np.array([{"a": 1}], dtype=object)))
    assert "never read" in refused(saved(np.zeros(2, dtype=[("a", "i4")])))
    with pytest.raises(ResultNotSerialisable, match="object"):
        write_npy(np.array([None], dtype=object))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not npy"),
        (b"\x93NUMPY\x01", "not npy"),
        (b"PK\x03\x04 not an array", "not npy"),
        (b"\x93NUMPY\x09\x00" + bytes(20), "version 9"),
        (b"\x93NUMPY\x01\x00\xff\xff" + bytes(20), "cut short or too long"),
        (b"\x93NUMPY\x01\x00\x05\x00junk\n" + bytes(20), "header cannot be read"),
        (saved(np.arange(4))[:-1], "bytes follow it"),
        (saved(np.arange(4)) + b"x", "bytes follow it"),
        (saved(np.zeros((0, 3))) + b"x", "bytes follow it"),
        (saved(np.arange(4)).replace(b"(4,), ", b"(-4,),"), "impossible shape"),
        (saved(np.arange(4)).replace(b"'<i8'", b"'zz8'"), "header cannot be read"),
    ],
)
def test_what_does_not_add_up_is_refused(raw: bytes, words: str) -> None:
    assert words in refused(raw)


def test_a_huge_announced_array_is_refused_without_being_made() -> None:
    raw = saved(np.arange(4)).replace(b"(4,), }       ", b"(4000000000,)}")
    assert "npy header says" in refused(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (announced((10**12, 0), "<f8"), "too large for an array without values"),
        (announced((10**4, 10**4, 0), "<f8"), "too large for an array without values"),
        (announced((0, 10**12), "<f8"), "too large for an array without values"),
        (announced((0, 10**12), "<U0"), "too large for an array without values"),
        (announced((0,), "<U100000000"), "too large for an array without values"),
        (announced((0, 2**70), "<f8"), "impossible shape"),
        (announced((10**4000, 10**4000), "<f8"), "impossible shape"),
        (announced((10**9,), "|S0"), "values of no bytes"),
        (announced((3,), "<U0"), "values of no bytes"),
        (announced((1,) * 33, "<f8", bytes(8)), "33 axes"),
        (announced((1,) * 65, "<f8", bytes(8)), "65 axes"),
    ],
)
def test_a_header_that_says_much_with_few_bytes_is_refused(raw: bytes, words: str) -> None:
    with at_most():
        assert words in refused(raw)


@pytest.mark.parametrize(
    "shape", [(0,), (0, 784), (3, 0), (0, 0), (0, 3, 1024, 1024), (1,) * 31 + (0,)]
)
def test_an_empty_batch_is_read(shape: tuple[int, ...]) -> None:
    request = decode("application/x-npy", announced(shape, "<f8"))
    assert (request.data.shape, request.count) == (shape, shape[0])


@given(st.binary(max_size=80))
def test_no_header_makes_anything_but_an_array_or_a_clear_error(tail: bytes) -> None:
    with contextlib.suppress(MalformedBody):
        read_npy(b"\x93NUMPY\x01\x00" + len(tail).to_bytes(2, "little") + tail)


def test_arrays_and_tensors_can_be_answered_as_npy() -> None:
    np.testing.assert_array_equal(result_array(np.arange(3)), np.arange(3))
    found = result_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
    assert found.dtype == np.float32
    for other in ([1, 2], "text", 3, np.array([None]), np.float32(2)):
        assert result_array(other) is None
