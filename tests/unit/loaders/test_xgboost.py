"""XGBoost stages answer bit for bit what the scikit-learn wrapper answers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders import xgboost as loader
from penstock.loaders.xgboost_direct import DirectCall

COMMON = {"n_estimators": 8, "max_depth": 3, "n_jobs": 1, "random_state": 3}


def classifier(cancer, **more):
    x, y = cancer
    return xgboost.XGBClassifier(**{**COMMON, **more}).fit(x, y)


def same(got, want):
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float32
    assert np.array_equal(got, want, equal_nan=True)


@pytest.mark.parametrize("suffix", ["json", "ubj", "pkl"])
def test_a_binary_classifier_returns_the_wrappers_probabilities(cancer, tmp_path, load, suffix):
    model = classifier(cancer)
    path = tmp_path / f"model.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        model.save_model(path)
    loaded = load(path, ModelType.XGBOOST_CLASSIFIER)
    for rows in (1, 2, 50, 569):
        x = cancer[0][:rows]
        same(loaded.predict(x), model.predict_proba(x))


@pytest.mark.parametrize(
    "more",
    [
        {"booster": "dart", "rate_drop": 0.3},
        {"booster": "gblinear", "max_depth": None},
        {"base_score": 0.2},
        {"objective": "binary:hinge"},
        {"num_parallel_tree": 3, "subsample": 0.8},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_every_booster_and_objective_agrees_with_the_wrapper(cancer, tmp_path, load, more):
    model = classifier(cancer, **more)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    x = cancer[0][:40]
    same(load(path, ModelType.XGBOOST_CLASSIFIER).predict(x), model.predict_proba(x))


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes_give_one_column_each(wine, tmp_path, load, objective):
    x, y = wine
    model = xgboost.XGBClassifier(**COMMON, objective=objective).fit(x, y)
    model.save_model(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)
    wrapper = xgboost.XGBClassifier()
    wrapper.load_model(tmp_path / "model.json")
    want = wrapper.predict_proba(x)
    assert want.shape == (178, 3)
    same(loaded.predict(x), want)
    assert loaded.describe()["classes"] == 3


def test_early_stopping_uses_the_best_iteration(cancer, tmp_path, load):
    x, y = cancer
    model = xgboost.XGBClassifier(
        n_estimators=60, learning_rate=1.0, early_stopping_rounds=2, n_jobs=1, random_state=3
    ).fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "model.ubj")
    loaded = load(tmp_path / "model.ubj", ModelType.XGBOOST_CLASSIFIER)
    same(loaded.predict(x), model.predict_proba(x))
    assert loaded.describe()["best_iteration"] == model.best_iteration


def test_missing_values_mean_what_they_meant_in_training(cancer, tmp_path, load):
    x, y = cancer[0].copy(), cancer[1]
    x[::3, 4] = -999.0
    model = xgboost.XGBClassifier(**COMMON, missing=-999.0).fit(x, y)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    same(
        load(tmp_path / "model.pkl", ModelType.XGBOOST_CLASSIFIER).predict(x),
        model.predict_proba(x),
    )
    model = classifier(cancer)
    model.save_model(tmp_path / "model.json")
    x[x == -999.0] = np.nan
    same(
        load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER).predict(x),
        model.predict_proba(x),
    )


def test_a_regressor_returns_one_number_per_row(cancer, tmp_path, load):
    x, _ = cancer
    model = xgboost.XGBRegressor(**COMMON).fit(x[:, 1:], x[:, 0])
    model.save_model(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json", ModelType.XGBOOST_REGRESSOR)
    got = loaded.predict(x[:, 1:])
    same(got, model.predict(x[:, 1:]))
    got += 1.0  # the answer belongs to the caller


def test_a_pickled_booster_loads(cancer, tmp_path, load):
    model = classifier(cancer)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model.get_booster()))
    loaded = load(tmp_path / "model.pkl", ModelType.XGBOOST_CLASSIFIER)
    same(loaded.predict(cancer[0]), model.predict_proba(cancer[0]))


def test_answers_do_not_change_when_the_next_call_is_made(cancer, tmp_path, load):
    model = classifier(cancer)
    model.save_model(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)
    first = loaded.predict(cancer[0][:2])
    kept = first.copy()
    loaded.predict(cancer[0][100:102])
    same(first, kept)


def test_the_direct_call_is_used_and_described(cancer, tmp_path, load):
    classifier(cancer).save_model(tmp_path / "model.json")
    facts = load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER).describe()
    assert facts["direct_call"] is True
    assert facts["inputs"] == [
        {"name": "input", "dtype": "float32", "shape": (None, 30), "n_features": 30}
    ]


def test_other_internals_fall_back_to_the_librarys_own_call(cancer, tmp_path, load, monkeypatch):
    def changed(*_):
        raise AttributeError("no such function")

    monkeypatch.setattr(loader, "DirectCall", changed)
    model = classifier(cancer)
    model.save_model(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)
    assert loaded.describe()["direct_call"] is False
    same(loaded.predict(cancer[0]), model.predict_proba(cancer[0]))


def test_the_direct_call_takes_any_layout_and_number_of_rows(cancer):
    booster = classifier(cancer).get_booster()
    direct = DirectCall(booster, 30, False, (0, 0), float("nan"))
    for x in (cancer[0], cancer[0][::-3], np.asfortranarray(cancer[0])):
        assert np.array_equal(direct(x), booster.inplace_predict(x))


def test_a_regressor_given_as_a_classifier_is_refused(cancer, tmp_path, load):
    x, y = cancer
    xgboost.XGBRegressor(**COMMON).fit(x, y).save_model(tmp_path / "model.json")
    with pytest.raises(LoadFailed, match="is a regressor") as caught:
        load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)
    assert "XGBOOST_REGRESSOR" in caught.value.hint


def test_a_pickle_of_something_else_is_refused(tmp_path, load):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression()))
    with pytest.raises(LoadFailed, match="LogisticRegression"):
        load(tmp_path / "model.pkl", ModelType.XGBOOST_REGRESSOR)


def test_a_broken_file_says_what_xgboost_says(tmp_path, load):
    (tmp_path / "model.json").write_text('{"learner": 1')
    with pytest.raises(LoadFailed, match="cannot be loaded as XGBOOST_CLASSIFIER"):
        load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)


def test_no_rows_give_no_rows(cancer, tmp_path, load):
    classifier(cancer).save_model(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json", ModelType.XGBOOST_CLASSIFIER)
    assert loaded.predict(np.empty((0, 30))).shape == (0, 2)
