"""One row for each data point, with its values by name."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
import pytest

from penstock.codec.prediction_messages import Answered, LoggedVersion
from penstock.control.prediction_rows import divide, rows_of
from penstock.core.loggers import LoggerSpec

VERSION = LoggedVersion("default", "wine", 3, [])


def rows(data: Any, result: Any, count: int, media: str = "application/json", **spec: Any) -> Any:
    body = data if isinstance(data, bytes) or data is None else msgspec.json.encode(data)
    ids = [f"r-{i}" for i in range(count)]
    answer = msgspec.json.encode(
        {"result": result, "run_id": "r", "run_time_ms": 1.5, "prediction_ids": ids}
    )
    answered = Answered(0, 1700000000.25, media.encode(), body, answer)
    return rows_of(answered, VERSION, LoggerSpec("parquet", **spec))


def test_each_data_point_has_a_row_with_its_input_result_and_ids() -> None:
    one, two = rows([[1, 2.5], [3, None]], ["a", "b"], 2)
    assert (one.prediction_id, two.prediction_id, two.run_id, two.index) == ("r-0", "r-1", "r", 1)
    assert (one.input, one.result, two.input) == ("[1,2.5]", '"a"', "[3,null]")
    assert (one.time, one.run_time_ms, one.version) == (1700000000.25, 1.5, 3)
    assert one.features == {"0": 1.0, "1": 2.5}
    assert two.features == {"0": 3.0, "1": None}
    assert one.outputs_text == {"0": "a"}


def test_features_and_targets_name_values_in_order_and_the_rest_has_positions() -> None:
    (row,) = rows(
        [[1, True, "red"]], [[0.1, 0.9]], 1, features=("age", "member"), targets=("no", "yes")
    )
    assert row.features == {"age": 1.0, "member": 1.0}
    assert row.features_text == {"2": "red"}
    assert row.outputs == {"no": 0.1, "yes": 0.9}


def test_rows_given_as_dicts_are_named_by_their_keys() -> None:
    one, _ = rows([{"age": 3, "city": "Bern", "more": [1]}, {"age": 4}], [1, 2], 2)
    assert (one.features, one.features_text) == ({"age": 3.0}, {"city": "Bern"})


def test_columns_are_divided_into_rows() -> None:
    one, two = rows({"x": [1, 2], "y": [3, 4]}, {"label": ["a", "b"]}, 2)
    assert (one.features, two.features) == ({"x": 1.0, "y": 3.0}, {"x": 2.0, "y": 4.0})
    assert two.outputs_text == {"label": "b"}


def test_a_result_without_an_entry_per_data_point_is_with_the_first() -> None:
    one, two = rows([[1], [2]], {"mean": 1.5}, 2)
    assert (one.result, two.result) == ('{"mean":1.5}', None)
    assert (one.outputs, two.outputs) == ({"mean": 1.5}, {})


def test_arrays_and_files_are_counted_as_the_flow_counts_them() -> None:
    file = io.BytesIO()
    np.save(file, np.array([[1.0, 2.0]]))
    (row,) = rows(file.getvalue(), [1], 1, media="application/x-npy")
    assert row.features == {"0": 1.0, "1": 2.0}
    (row,) = rows(b"raw", ["cat"], 1, media="image/png")
    assert (row.files, row.input, row.features) == (1, None, {})


def test_a_body_that_was_not_kept_leaves_the_input_empty() -> None:
    (row,) = rows(None, [1], 1)
    assert (row.input, row.result) == (None, "1")


def test_a_value_over_the_limit_is_left_out_but_not_its_row() -> None:
    (row,) = rows([["x" * 70_000]], [1], 1)
    assert row.input is None
    assert row.result == "1"


@pytest.mark.parametrize(
    ("value", "count", "want"),
    [([1, 2], 2, [1, 2]), ([1, 2], 1, [[1, 2]]), (5, 2, [5, None]), ({}, 1, [{}]), ([], 0, [])],
)
def test_values_are_divided_among_data_points(value: Any, count: int, want: Any) -> None:
    assert divide(value, count) == want
