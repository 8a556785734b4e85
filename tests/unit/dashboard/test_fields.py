"""Which fields the playground's form has."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.dashboard.fields import MOST_FIELDS, Field, form_of_data, form_of_inputs


@pytest.mark.parametrize(
    ("data", "shape", "fields"),
    [
        (["a", "b"], "values", [("", "text")]),
        ([1, 2.5], "values", [("", "number")]),
        ([[5.1, 3], [4.9, 2]], "rows", [("1", "number"), ("2", "number")]),
        ([["Ulm", 3, True]], "rows", [("1", "text"), ("2", "number"), ("3", "flag")]),
        ([{"b": 1, "a": [1]}], "records", [("b", "number"), ("a", "json")]),
        ({"text": "x", "n": None}, "record", [("text", "text"), ("n", "json")]),
    ],
)
def test_every_place_that_all_data_points_have_is_a_field(
    data: Any, shape: str, fields: list[tuple[str, str]]
) -> None:
    form = form_of_data(data)
    assert form is not None
    assert (form.shape, form.fields) == (shape, [Field(*field) for field in fields])


@pytest.mark.parametrize("values", [[1, None], [True, 1], ["a", 1], [None], [[1]]])
def test_a_field_that_holds_this_and_that_takes_any_json(values: list[Any]) -> None:
    form = form_of_data([{"x": value} for value in values])
    assert form is not None
    assert form.fields == [Field("x", "json")]


@pytest.mark.parametrize(
    "data",
    [[], {}, None, "text", 3, [[1], [1, 2]], [{"a": 1}, {"b": 1}], [[]], [[0] * (MOST_FIELDS + 1)]],
)
def test_data_without_fields_in_common_or_with_too_many_have_no_form(data: Any) -> None:
    assert form_of_data(data) is None


def test_a_model_that_declares_a_table_has_a_number_for_each_column() -> None:
    plain = form_of_inputs([{"name": "input", "n_features": 2}])
    named = form_of_inputs([{"name": "input", "n_features": 2, "columns": ["age", "fare"]}])
    assert plain is not None
    assert named is not None
    assert plain.fields == [Field("1", "number"), Field("2", "number")]
    assert named.fields == [Field("age", "number"), Field("fare", "number")]


@pytest.mark.parametrize(
    "inputs", [[], [{"name": "pixels", "shape": [None, 3]}], [{"n_features": 1}, {"n_features": 1}]]
)
def test_a_model_that_declares_no_table_has_no_form(inputs: list[Any]) -> None:
    assert form_of_inputs(inputs) is None
