"""Data frames as a request's data: the rows that every other client would write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from penstock.codec.request import encode_request
from penstock.core.errors import MalformedBody

pd = pytest.importorskip("pandas")


def sent(data: Any) -> Any:
    return json.loads(encode_request(data).to_bytes())


def test_a_frame_is_sent_as_its_rows_by_column_name() -> None:
    frame = pd.DataFrame({"city": ["a", "b"], "size": np.array([1, 2], "int32")}, index=[7, 9])
    assert sent(frame) == [{"city": "a", "size": 1}, {"city": "b", "size": 2}]


def test_columns_that_pandas_numbered_have_no_names() -> None:
    rows = [[5.1, 3.5], [6.2, 2.9]]
    assert sent(pd.DataFrame(np.array(rows))) == rows


def test_whatever_is_missing_is_null_and_dates_are_texts() -> None:
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(["2026-01-31", None]),
            "count": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["x", None]),
            "width": np.array([1.5, np.nan], "float32"),
        }
    )
    assert sent(frame) == [
        {"date": "2026-01-31T00:00:00", "count": 1, "kind": "x", "width": 1.5},
        {"date": None, "count": None, "kind": None, "width": None},
    ]


def test_a_series_is_its_values() -> None:
    assert sent(pd.Series([1.0, None, 3.0])) == [1.0, None, 3.0]
    assert sent(pd.DataFrame({"a": [1, 2], "b": [3, 4]}).iloc[1]) == [2, 4]


def test_two_columns_of_one_name_are_refused_by_name() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["width", "width"])
    with pytest.raises(MalformedBody, match="two columns of the name 'width'"):
        encode_request(frame)


def test_a_frame_inside_the_data_is_named_where_it_is() -> None:
    with pytest.raises(MalformedBody, match=r'data\["a"\] is a .*DataFrame'):
        encode_request({"a": pd.DataFrame({"b": [1]})})


def test_frames_of_polars_are_known_by_their_class() -> None:
    # Polars is not among the libraries of the tests; these have its names and its methods.
    home = {"__module__": "polars.dataframe.frame"}
    frame = type("DataFrame", (), {**home, "to_dicts": lambda self: [{"a": 1}, {"a": None}]})()
    series = type("Series", (), {**home, "to_list": lambda self: [1, None]})()
    assert sent(frame) == [{"a": 1}, {"a": None}]
    assert sent(series) == [1, None]
