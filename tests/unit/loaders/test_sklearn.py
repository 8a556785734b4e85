"""scikit-learn stages answer what the estimator answers."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType


def save(model, path):
    path.write_bytes(pickle.dumps(model))
    return path


def test_predict_proba_predict_and_transform_are_the_estimators_own(wine, tmp_path, load):
    x, y = wine
    forest = RandomForestClassifier(n_estimators=10, random_state=1).fit(x, y)
    path = save(forest, tmp_path / "forest.pkl")
    got = load(path, ModelType.SKLEARN_CLASSIFIER).predict(x)
    assert np.array_equal(got, forest.predict_proba(x))
    assert np.array_equal(load(path, ModelType.SKLEARN).predict(x), forest.predict(x))
    scaler = StandardScaler().fit(x)
    joblib.dump(scaler, tmp_path / "scaler.joblib")
    loaded = load(tmp_path / "scaler.joblib", ModelType.SKLEARN_PREPROCESSOR)
    assert np.array_equal(loaded.predict(x), scaler.transform(x))
    assert loaded.inputs[0].n_features == 13


def test_a_joblib_file_may_be_called_pkl(wine, tmp_path, load):
    scaler = StandardScaler().fit(wine[0])
    joblib.dump(scaler, tmp_path / "scaler.pkl", compress=3)
    got = load(tmp_path / "scaler.pkl", ModelType.SKLEARN_PREPROCESSOR).predict(wine[0])
    assert np.array_equal(got, scaler.transform(wine[0]))


def test_an_estimator_without_probabilities_is_refused_with_a_hint(wine, tmp_path, load):
    path = save(LinearSVC().fit(*wine), tmp_path / "svc.pkl")
    with pytest.raises(LoadFailed, match="LinearSVC, which has no predict_proba") as caught:
        load(path, ModelType.SKLEARN_CLASSIFIER)
    assert "CalibratedClassifierCV" in caught.value.hint


def test_an_estimator_that_is_not_fitted_is_refused(tmp_path, load):
    path = save(LinearRegression(), tmp_path / "model.pkl")
    with pytest.raises(LoadFailed, match="not fitted"):
        load(path, ModelType.SKLEARN)


def test_another_version_is_recorded_not_raised(wine, tmp_path, load):
    raw = pickle.dumps(LinearRegression().fit(*wine))
    old = ("0" + sklearn.__version__[1:]).encode()
    (tmp_path / "model.pkl").write_bytes(raw.replace(sklearn.__version__.encode(), old))
    facts = load(tmp_path / "model.pkl", ModelType.SKLEARN).describe()
    assert "InconsistentVersionWarning" in facts["warnings"][0]


def test_threads_are_limited_to_what_the_stage_may_use(wine, tmp_path, load):
    forest = RandomForestClassifier(n_estimators=5, n_jobs=-1, random_state=1).fit(*wine)
    loaded = load(save(forest, tmp_path / "forest.pkl"), ModelType.SKLEARN_CLASSIFIER, threads=1)
    assert np.allclose(loaded.predict(wine[0]), forest.predict_proba(wine[0]))
    assert loaded._estimator.n_jobs == 1


def test_an_estimator_fitted_on_a_frame_takes_arrays_without_a_warning(wine, tmp_path, load):
    frame = pd.DataFrame(wine[0], columns=[f"c{i}" for i in range(13)])
    model = LinearRegression().fit(frame, wine[1])
    loaded = load(save(model, tmp_path / "model.pkl"), ModelType.SKLEARN)
    assert loaded.inputs[0].columns == tuple(frame.columns)
    np.testing.assert_allclose(loaded.predict(wine[0]), model.predict(frame), rtol=1e-12)


def test_columns_chosen_by_name_get_a_frame_again(tmp_path, load):
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "b", "a", "b"]})
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["size"]), ("k", OneHotEncoder(), ["kind"])]
    )
    model = make_pipeline(columns, LinearRegression()).fit(frame, [1, 2, 3, 4])
    loaded = load(save(model, tmp_path / "model.pkl"), ModelType.SKLEARN)
    table = np.array([[1.5, "b"], [2.5, "a"]], dtype=object)
    want = model.predict(pd.DataFrame({"size": [1.5, 2.5], "kind": ["b", "a"]}))
    assert np.array_equal(loaded.predict(table), want)


def test_something_that_is_no_estimator_is_refused(tmp_path, load):
    path = save({"weights": [1, 2]}, tmp_path / "model.pkl")
    with pytest.raises(LoadFailed, match=r"holds a builtins\.dict"):
        load(path, ModelType.SKLEARN)


def test_a_file_cut_short_says_so(wine, tmp_path, load):
    raw = pickle.dumps(LinearRegression().fit(*wine))
    (tmp_path / "model.pkl").write_bytes(raw[:-20])
    with pytest.raises(LoadFailed, match="not a complete pickle"):
        load(tmp_path / "model.pkl", ModelType.SKLEARN)
