"""What reaches a model is converted to what it takes, or refused with *expected* and *got*."""

from __future__ import annotations

import pickle
import warnings
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xgboost
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from penstock.core.errors import InputMismatch, StageMismatch
from penstock.core.flow import ModelType as M
from penstock.flow.coerce import TableConverter
from penstock.flow.feeds import FeedConverter
from penstock.flow.mismatch import REQUEST, Origin, Taker
from penstock.flow.tensors import TensorConverter
from penstock.loaders.base import TensorSpec

MODEL = Origin("the model of stage 1", 1)
PRE = Origin("pre of stage 2", 2, "pre")


def table(features=3, dtype="float32", columns=None, origin=REQUEST):
    spec = TensorSpec(dtype=dtype, n_features=features, columns=columns)
    return TableConverter(SimpleNamespace(inputs=(spec,)), Taker(2, "XGBOOST_REGRESSOR", origin))


def tensor(origin=REQUEST, dtype=torch.float32):
    model = SimpleNamespace(float_dtype=dtype, inputs=(TensorSpec(),))
    return TensorConverter(model, Taker(2, "TORCH", origin))


def feed(*specs, origin=REQUEST):
    return FeedConverter(SimpleNamespace(inputs=specs), Taker(1, "ONNX", origin))


def test_one_row_may_come_without_its_outer_list():
    assert np.array_equal(table()([1, 2, 3]), table()([[1, 2, 3]]))
    assert tensor()([1, 2, 3]).shape == (1, 3)


def test_null_is_a_missing_value():
    got = table()([[1, None, 3]])
    assert np.isnan(got[0, 1])


def test_a_models_one_dimensional_output_is_a_column():
    got = table(1, origin=MODEL)(np.arange(4.0))
    assert got.shape == (4, 1)


@pytest.mark.parametrize(
    "value",
    [
        np.ones((2, 3)),
        torch.ones(2, 3),
        torch.ones(2, 3, requires_grad=True),
        torch.ones(2, 3, dtype=torch.bfloat16),
        [torch.ones(3), torch.ones(3)],
        [np.ones(3), np.ones(3)],
        ((1, 1, 1), (1, 1, 1)),
        [[True, True, True]] * 2,
    ],
    ids=lambda v: type(v).__name__,
)
def test_arrays_tensors_and_lists_of_them_become_a_table(value):
    assert np.array_equal(table(origin=PRE)(value), np.ones((2, 3)))


def test_a_table_that_fits_is_not_copied():
    value = np.ones((2, 3), np.float32)
    assert table(origin=PRE)(value) is value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 2]], "3 values per row"),
        ([[1, 2, 3], [4, 5]], "row 1 has 2 values and row 0 has 3"),
        ([[1, 2, "x"]], "str 'x'"),
        ("text", "str 'text'"),
        ([[[1, 2, 3]]], "shape (1, 1, 3)"),
        ([{"a": 1}], "knows no column names"),
        ([[1, 2, {}]], "list of 1"),
        (None, "null"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(value, words):
    with pytest.raises(InputMismatch) as caught:
        table()(value)
    assert words in str(caught.value)
    with pytest.raises(StageMismatch):
        table(origin=PRE)(value)


def test_rows_as_dicts_follow_the_models_column_names():
    convert = table(columns=("a", "b", "c"))
    assert convert([{"c": 3, "a": 1, "b": 2}]).tolist() == [[1, 2, 3]]
    assert convert({"b": [2, 5], "a": [1, 4], "c": [3, 6]}).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert convert({"a": 1, "b": 2, "c": 3}).tolist() == [[1, 2, 3]]
    with pytest.raises(
        InputMismatch, match=r"without \['c'\] and with the unknown \['d'\] in row 0"
    ):
        convert([{"a": 1, "b": 2, "d": 3}])


def test_frames_and_sparse_matrices_reach_the_model_as_they_are():
    frame = pd.DataFrame(np.ones((2, 3)))
    sparse = scipy.sparse.csr_matrix(np.ones((2, 3)))
    for value in (frame, sparse):
        assert table(origin=PRE)(value) is value
    with pytest.raises(StageMismatch, match="3 values per row"):
        table(origin=PRE)(frame.iloc[:, :2])


def test_texts_reach_a_text_model_and_sparse_results_come_back_as_lists(worker, tmp_path):
    words = CountVectorizer().fit(["red green", "blue"])
    (tmp_path / "words.pkl").write_bytes(pickle.dumps(words))
    service = worker([(M.SKLEARN_PREPROCESSOR, tmp_path / "words.pkl")])
    assert service.results(["blue red"]) == [[[1, 0, 1]]]
    flow = [(M.SKLEARN_PREPROCESSOR, tmp_path / "words.pkl", {"pre": lambda t: np.array(t)})]
    assert worker(flow).results(["blue red"]) == [[[1, 0, 1]]]
    pipeline = make_pipeline(CountVectorizer(), LinearRegression()).fit(["a1 b1", "b1"], [1, 2])
    (tmp_path / "pipe.pkl").write_bytes(pickle.dumps(pipeline))
    (got,) = worker([(M.SKLEARN, tmp_path / "pipe.pkl")]).results(["a1", "b1"])
    assert np.allclose(got, pipeline.predict(["a1", "b1"]))


def test_sparse_rows_flow_into_a_booster(worker, tmp_path, models):
    words = CountVectorizer().fit(["red green", "blue"])
    (tmp_path / "words.pkl").write_bytes(pickle.dumps(words))
    x = words.transform(["red", "green", "blue", "red blue"] * 5)
    booster = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(x, np.arange(20))
    booster.save_model(tmp_path / "xgb.json")
    flow = [
        (M.SKLEARN_PREPROCESSOR, tmp_path / "words.pkl"),
        (M.XGBOOST_REGRESSOR, tmp_path / "xgb.json"),
    ]
    (got,) = worker(flow).results(["red", "blue"])
    assert np.allclose(got, booster.predict(words.transform(["red", "blue"])))


def test_text_in_a_numeric_estimator_is_the_callers_mistake(worker, models):
    error = worker([(M.SKLEARN, models.regressor)]).error([["a", 1.0]])
    assert error["code"] == "input_mismatch"
    assert "str 'a'" in error["message"]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2]], torch.float32),
        (np.ones((1, 2)), torch.float32),
        (np.ones((1, 2), np.float32)[:, ::-1], torch.float32),
        (np.ones((1, 2), np.uint8), torch.float32),
        (np.ones((1, 2), np.int64), torch.int64),
        (np.ones((1, 2), np.int32), torch.int32),
        (torch.ones(1, 2, dtype=torch.int64), torch.int64),
        (torch.ones(1, 2, dtype=torch.float64), torch.float32),
        ([np.ones(2, np.int64)], torch.int64),
        ([torch.ones(2)], torch.float32),
        ([[1, None]], torch.float32),
    ],
)
def test_tensors_get_the_models_floating_dtype_and_indices_stay_indices(value, dtype):
    got = tensor(PRE)(value)
    assert got.dtype is dtype
    assert got.shape == (1, 2)


def test_a_read_only_array_is_copied_without_a_warning():
    value = np.ones((1, 2), np.float32)
    value.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = tensor()(value)
    got += 1
    assert value[0, 0] == 1


def test_a_double_or_half_model_gets_its_own_dtype():
    assert tensor(PRE, torch.float64)([[1.0]]).dtype is torch.float64
    assert tensor(PRE, torch.float16)(np.ones((1, 1), np.float32)).dtype is torch.float16


@pytest.mark.parametrize("value", ["text", {"a": 1}, [["x", 1]], [[1, 2], [3]], [object()]])
def test_no_tensor_can_be_made_of_these(value):
    with pytest.raises(InputMismatch, match="numbers"):
        tensor()(value)


def test_tensors_of_different_shapes_are_named():
    with pytest.raises(StageMismatch, match="different shapes"):
        tensor(PRE)([torch.ones(2), torch.ones(3)])


def test_an_embedding_fed_with_json_numbers_says_to_use_a_pre(worker, tmp_path):
    (tmp_path / "e.pkl").write_bytes(cloudpickle.dumps(torch.nn.Embedding(5, 2)))
    error = worker([(M.TORCH, tmp_path / "e.pkl")]).error([[1, 2]])
    assert "integer array" in error["hint"]
    flow = [(M.TORCH, tmp_path / "e.pkl", {"pre": lambda data: np.asarray(data)})]
    assert np.shape(worker(flow).results([[1, 2]])[0]) == (1, 2, 2)


X = TensorSpec("x", "float32", (None, 2))
N = TensorSpec("n", "int64", (None,))


def test_inputs_by_name_are_cast_to_the_declared_dtypes():
    got = feed(X, N)({"x": [[1, 2], [3, 4]], "n": [5, 6]})
    assert got["x"].dtype == np.float32
    assert got["n"].dtype == np.int64
    assert got["x"].shape == (2, 2)


def test_a_list_of_dicts_is_a_batch():
    got = feed(X, N)([{"x": [1, 2], "n": 5}, {"x": [3, 4], "n": 6}])
    assert got["x"].tolist() == [[1, 2], [3, 4]]
    assert got["n"].tolist() == [5, 6]
    assert feed(X)([{"x": [[1, 2], [3, 4]]}])["x"].shape == (2, 2)


def test_a_bare_value_is_the_only_input():
    assert feed(X)([[1, 2]])["x"].shape == (1, 2)
    assert feed(X)([1, 2])["x"].shape == (1, 2)
    with pytest.raises(InputMismatch, match="a dict with the inputs 'x'"):
        feed(X, N)([[1, 2]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"x": [[1, 2]], "y": 1}, "unknown ['y']"),
        ({}, "without ['x']"),
        ({"x": [[1, 2, 3]]}, "float32 of shape (any, 2) for input 'x'"),
        ({"x": [["a", 2]]}, "str 'a'"),
        ({"x": [[1, 2], [3]]}, "row 1"),
        ([{"x": [1, 2]}, 5], "int 5 in row 1"),
        ([{"x": [1, 2]}, {"z": 1}], "in row 1"),
    ],
)
def test_a_feed_that_does_not_fit_names_input_and_shape(value, words):
    with pytest.raises(InputMismatch) as caught:
        feed(X)(value)
    assert words in str(caught.value)


def test_fractions_are_never_cut_off_for_an_integer_input():
    assert feed(N)({"n": [1.0, 2.0]})["n"].dtype == np.int64
    with pytest.raises(InputMismatch, match="int64"):
        feed(N)({"n": [1.5]})


def test_a_fixed_first_axis_takes_no_batch_of_dicts():
    fixed = TensorSpec("x", "float32", (1, 2))
    assert feed(fixed)([{"x": [1, 2]}])["x"].shape == (1, 2)
    with pytest.raises(InputMismatch, match="one dict per request"):
        feed(fixed)([{"x": [1, 2]}, {"x": [1, 2]}])
