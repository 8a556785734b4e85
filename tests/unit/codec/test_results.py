"""Results become JSON: NumPy, torch, keys, paths in errors, and the same locally as served."""

# ruff: noqa: E501 - a table of cases reads best with related cases on one line

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import tracemalloc
import types
import uuid
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.codec.plain import Conversion, is_plain
from penstock.codec.results import encode_json, encode_plain, envelope, error_body, to_plain
from penstock.core.errors import FunctionFailed, InternalError, ResultNotSerialisable
from penstock.core.text import Text

RUN = "0c1d7a54-3a51-4c3e-9d5e-0123456789ab"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Box:
    label: str
    score: Any


class Row(msgspec.Struct):
    label: str
    score: Any


def test_a_text_alone_is_wrapped_and_a_text_of_penstocks_own_is_not() -> None:
    for text in ("", "sluice", 'a "gate"', "\u00e9"):
        assert json.loads(encode_json(text)) == [text]
        assert json.loads(encode_json(Text(text))) == text == to_plain(Text(text))
    assert encode_json([Text("a"), {"b": Text("c")}]) == b'["a",{"b":"c"}]'
    assert encode_json({Text("key"): 1}) == b'{"key":1}'
    with pytest.raises(ResultNotSerialisable):
        encode_json(Text("\ud800"))


def refused(value: object) -> str:
    with pytest.raises(ResultNotSerialisable) as caught:
        encode_json(value)
    with pytest.raises(ResultNotSerialisable) as local:
        to_plain(value)
    assert str(local.value) == str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        # at the top
        (3, [3]), ("url", ["url"]), (True, [True]), (None, [None]), (1.5, [1.5]),
        (np.float32(0.5), [0.5]), (np.array(7), [7]), (torch.tensor(7), [7]), (Colour.RED, ["red"]),
        (np.str_("s"), ["s"]), (float("nan"), [None]), ([], []), ({}, {}), ((), []), ((1,), [1]),
        # arrays and tensors
        (np.array([[1, 2]]), [[1, 2]]), (np.zeros((0, 2)), []), (np.array([True]), [True]),
        (np.array([1, np.nan, np.inf, -np.inf]), [1, None, None, None]),
        (np.array([0.1], np.float32), [float(np.float32(0.1))]), (np.array([0.5], np.float16), [0.5]),
        (np.array([0.5], np.longdouble), [0.5]), (np.array(["a", "é"]), ["a", "é"]),
        (np.array([2**64 - 1], np.uint64), [2**64 - 1]),
        (np.array([[1, None], [np.int8(2), "x"]], dtype=object), [[1, None], [2, "x"]]),
        (np.array(None, dtype=object), [None]), (np.array({"a": np.int8(1)}, dtype=object), {"a": 1}),
        (np.ma.masked_array([1.0, 2.0], [False, True]), [1.0, None]), (np.ma.masked, [None]),
        (np.array(["2024-01-02", "NaT"], "M8[D]"), ["2024-01-02", None]),
        (np.datetime64("NaT"), [None]), (np.datetime64("2024-01-02T03:04:05"), ["2024-01-02T03:04:05"]),
        (torch.tensor([[1.5]], requires_grad=True), [[1.5]]),
        (torch.nn.Parameter(torch.ones(1)), [1.0]), (torch.tensor([True]), [True]),
        (torch.tensor([0.5], dtype=torch.bfloat16), [0.5]),
        (torch.tensor([0.5]).to(torch.float8_e4m3fn), [0.5]),
        (torch.tensor([0.0, 2.0]).to_sparse(), [0.0, 2.0]),
        (torch.tensor([1.0, float("nan")]), [1.0, None]),
        # inside
        ({"a": np.int64(1), "b": [np.float32(0.5), np.array([1])]}, {"a": 1, "b": [0.5, [1]]}),
        ([torch.tensor([1]), (np.bool_(True), None)], [[1], [True, None]]),
        ([np.array(5), np.longdouble(0.5), np.float64("nan"), np.float16(2)], [5, 0.5, None, 2.0]),
        ({"x": float("inf"), "y": [float("nan")]}, {"x": None, "y": [None]}),
        ([Pair(1, np.int8(2)), Box("b", np.float32(1)), Row("r", torch.tensor(1))],
         [[1, 2], {"label": "b", "score": 1.0}, {"label": "r", "score": 1}]),
        ([Colour.RED, Level.LOW], ["red", 1]),
        (collections.OrderedDict(a=np.int8(1)), {"a": 1}), (collections.Counter("aab"), {"a": 2, "b": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}), (collections.UserDict(a=1), {"a": 1}),
        ([datetime.datetime(2024, 1, 2, 3), datetime.date(2024, 1, 2), datetime.time(4)],
         ["2024-01-02T03:00:00", "2024-01-02", "04:00:00"]),
        ([pd.Timestamp("2024-01-02"), pd.NaT], ["2024-01-02T00:00:00", None]),
        ([uuid.UUID(int=1), decimal.Decimal("1.50")], ["00000000-0000-0000-0000-000000000001", "1.50"]),
        ([2**100, -0.0], [2**100, -0.0]),
        # keys
        ({1: "a", "2": "b"}, {"1": "a", "2": "b"}), ({np.int64(3): 1}, {"3": 1}),
        ({np.str_("s"): 1}, {"s": 1}), ({True: 1, None: 2}, {"true": 1, "null": 2}),
        ({np.bool_(False): 1}, {"false": 1}), ({1.5: 1}, {"1.5": 1}), ({np.float32(0.5): 1}, {"0.5": 1}),
        ({Colour.RED: 1}, {"red": 1}), ({torch.tensor(4): 1}, {"4": 1}),
        ({datetime.date(2024, 1, 2): 1}, {"2024-01-02": 1}), ({10**70: 1}, {str(10**70): 1}),
    ],
)  # fmt: skip
def test_results_have_this_json_form(value: object, plain: object) -> None:
    body = encode_json(value)
    assert json.loads(body) == plain
    assert repr(to_plain(value)) == repr(json.loads(body))


def test_a_prediction_dict_of_the_seed_example_is_served() -> None:
    probabilities = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    answer = dict(zip(["a", "b"], probabilities.argmax(axis=1)))  # noqa: B905 - as users write it
    assert to_plain(answer) == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [object()]}, 'result["a"][0] is a object, which has no JSON form. Use lists'),
        ([1, {2, 3}], "result[1] is a set, which has no JSON form. Return sorted"),
        (frozenset([1]), "result is a frozenset"),
        ({"x": {"y": b"raw"}}, 'result["x"]["y"] is a bytes, which has no JSON form. Return base64'),
        (bytearray(b"x"), "base64"), (memoryview(b"x"), "base64"), (np.bytes_(b"x"), "base64|bytes"),
        (np.array([b"x"]), "result is an array of bytes8"), (np.complex64(1j), "result is a complex64"),
        ([1j], "[value.real, value.imag]"), (np.array([1j]), "array of complex128"),
        (np.array([1], "m8[s]"), "timedelta64"), ([datetime.timedelta(1)], "total_seconds"),
        (np.zeros(1, [("a", "i4")]), "array of void"),
        (pd.DataFrame({"a": [1]}), 'to_dict("records")'), ([pd.Series([1])], "value.tolist()"),
        ((n for n in [1]), "Return list(...)"), (range(3), "Return list(...)"),
        ({"f": len}, 'result["f"] is a builtin_function_or_method'), ([Box], "result[0] is a type"),
        ({(1, 2): 3}, "result[key (1, 2)] is a tuple, which cannot be a key"),
        ({b"k": 3}, "result[key b'k'] is a bytes"),
        ({torch.tensor([1]): 3}, "cannot be a key"),
        ({1: "a", "1": "b"}, 'result["1"] is there twice'), ({True: 1, "true": [2]}, "is there twice"),
        (["ok", "\ud800"], "result[1] is a str that JSON cannot hold: '\\ud800'"),
        ({"\ud800": 1}, "JSON cannot hold"), ([np.array(["\ud800"])], "result[0][0]"),
        ([10**5000], "thousands of digits"), ({10**5000: 1}, "thousands of digits"),
        ([Box("b", {"deep": {1}})], 'result[0].score["deep"] is a set'),
        ([Row("r", [b""])], "result[0].score[0] is a bytes"),
        (np.array([1, {2}], dtype=object), "result[1] is a set"),
        ([torch.ones(1, device="meta")], "result[0] is a tensor whose values cannot be read"),
    ],
)  # fmt: skip
def test_what_has_no_json_form_is_named_with_path_and_type(value: object, words: str) -> None:
    message = refused(value)
    assert any(word in message for word in words.split("|"))
    message.encode()


@pytest.mark.parametrize("plain_too", [True, False])
def test_a_container_that_contains_itself_is_a_clear_error(plain_too: bool) -> None:
    loop: list[Any] = [1] if plain_too else [np.int8(1)]
    loop.append({"again": loop})
    assert 'result[1]["again"] contains itself' in refused(loop)
    branching: dict[Any, Any] = {}
    branching["a"] = branching["b"] = [branching, branching]
    assert "contains itself" in refused(branching)
    holder = np.empty(1, dtype=object)
    holder[0] = holder
    assert "deep" in refused(holder)


def test_a_value_used_twice_is_no_cycle() -> None:
    shared = [np.int8(1)]
    assert to_plain({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_very_deep_nesting_is_a_clear_error() -> None:
    deep: Any = [np.int8(1)]
    for _ in range(100_000):
        deep = [deep]
    message = refused(deep)
    assert "nested deeper than 200 levels" in message
    assert len(message) < 300


def test_the_value_itself_is_never_changed() -> None:
    value = {"a": [np.int8(1), (2, 3)], 4: {"b": np.array([1.0])}}
    before = repr(value)
    to_plain(value)
    assert repr(value) == before


numbers = (
    st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.none() | st.text(max_size=8)
)
numpy_values = (
    st.integers(-128, 127).map(np.int8)
    | st.floats(width=32).map(np.float32)
    | st.floats().map(np.float64)
    | st.booleans().map(np.bool_)
    | hnp.arrays(st.sampled_from(["f4", "f8", "i8", "?"]), hnp.array_shapes(min_dims=0, max_side=3))
    | hnp.arrays("U3", hnp.array_shapes(min_dims=0, max_side=3), elements=st.text(max_size=3))
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
)
keys = (
    st.text(max_size=5)
    | st.integers(0, 9).map(lambda n: n + 1000)
    | st.integers(-99, 0).map(np.int64)
)


def nested(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(names, inner, max_size=4)
        ),
        max_leaves=15,
    )


@settings(max_examples=200)
@given(nested(numbers | numpy_values, keys))
def test_a_local_run_returns_exactly_what_a_served_caller_reads(value: object) -> None:
    body = encode_json(value)
    parsed = json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert repr(to_plain(value)) == repr(parsed)
    assert type(parsed) in (list, dict)


@settings(max_examples=200)
@given(nested(numbers, st.text(max_size=5)))
def test_the_quick_way_and_the_thorough_way_agree(value: object) -> None:
    assert is_plain(value)
    thorough = Conversion("result", ResultNotSerialisable).run(value)
    if not isinstance(value, (dict, list, tuple)):
        thorough = [thorough]
    assert encode_plain(thorough, "result", ResultNotSerialisable) == encode_json(value)


@pytest.mark.parametrize("odd", [{1}, b"a", {1: 2}, [{"a": {2}}], ({"b": [b""]},)])
def test_what_is_no_json_is_found_in_a_long_answer_too(odd: object) -> None:
    rows = [{"label": "a", "p": 0.5, "at": [1, (2, None)]}] * 2000
    assert is_plain(rows)
    assert json.loads(encode_json(rows))[-1]["at"] == [1, [2, None]]
    for mixed in ([*rows, odd], [[*rows], {"a": rows, "b": [odd]}]):
        assert not is_plain(mixed)


@settings(max_examples=100)
@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=5))
def test_lists_arrays_and_tensors_of_the_same_numbers_have_one_json(
    rows: list[list[float]],
) -> None:
    body = encode_json(rows)
    assert encode_json(np.array(rows)) == body
    assert encode_json(torch.tensor(rows, dtype=torch.float64)) == body
    assert encode_json([np.array(row) for row in rows]) == body
    assert encode_json([[np.float64(x) for x in row] for row in rows]) == body
    assert all(x is None or math.isfinite(x) for row in json.loads(body) for x in row)


@settings(max_examples=100)
@given(nested(numbers | st.just({1}) | st.just(b"x") | st.just(frozenset()), st.text(max_size=3)))
def test_sets_and_bytes_never_slip_through(value: object) -> None:
    def has_odd(item: Any) -> bool:
        if isinstance(item, (list, tuple)):
            return any(map(has_odd, item))
        if isinstance(item, dict):
            return any(map(has_odd, item.values()))
        return isinstance(item, (set, frozenset, bytes))

    if has_odd(value):
        refused(value)
    else:
        encode_json(value)


@pytest.mark.parametrize("count", [0, 1, 2, 33])
def test_the_envelope_has_one_prediction_id_per_data_point(count: int) -> None:
    body = envelope(b'{"a":[1]}', RUN, 1.23456, count)
    assert json.loads(body) == {
        "result": {"a": [1]},
        "run_id": RUN,
        "run_time_ms": 1.235,
        "prediction_ids": [f"{RUN}-{number}" for number in range(count)],
    }
    assert b'"run_time_ms":1.235,' in body


def test_ids_of_many_data_points_are_written_and_not_kept() -> None:
    envelope(b"[]", RUN, 1.0, 5000)
    tracemalloc.start()
    try:
        for count in range(50_000, 50_010):
            assert envelope(b"[]", RUN, 1.0, count).endswith(b'-%d"]}' % (count - 1))
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000 < most


def test_an_error_has_one_shape_and_hides_tracebacks_unless_asked() -> None:
    error = FunctionFailed("pre of stage 1 raised.", stage=1, function="pre", type="KeyError",
                           hint="Look.", traceback="Traceback ...", line=3,
                           values={"name": "'a'"})  # fmt: skip
    hidden = json.loads(error_body(error, RUN, with_traceback=False))
    assert hidden == {
        "error": {"code": "function_failed", "message": "pre of stage 1 raised.", "stage": 1,
                  "function": "pre", "type": "KeyError", "hint": "Look.", "facts": {"line": 3}},
        "run_id": RUN,
    }  # fmt: skip
    shown = json.loads(error_body(error, None, with_traceback=True))
    assert shown["error"]["traceback"] == "Traceback ..."
    assert shown["error"]["facts"] == {"line": 3, "values": {"name": "'a'"}}
    assert shown["run_id"] is None


def test_an_error_about_odd_things_can_still_be_written() -> None:
    body = error_body(InternalError("Bad text \ud800.", odd=object()), RUN, with_traceback=True)
    assert json.loads(body)["error"]["message"] == "Bad text \\ud800."
    facts = json.loads(error_body(InternalError("x", odd=object), RUN, with_traceback=True))
    assert "object" in facts["error"]["facts"]["odd"]
