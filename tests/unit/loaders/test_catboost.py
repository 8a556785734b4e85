"""CATBOOST: the library's own answers for classes, numbers and categories."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

from penstock import Conduit, model_type
from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile
from penstock.loaders.registry import load_model

QUIET: dict[str, Any] = {
    "iterations": 15, "depth": 3, "verbose": False, "thread_count": 1, "random_seed": 3,
    "allow_writing_files": False,
}  # fmt: skip
WINE, KINDS = load_wine(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)


def load(path: Path) -> Any:
    return load_model(ModelFile(path, path.name), ModelType.CATBOOST, 1)


@pytest.mark.parametrize("loss", ["RMSE", "Poisson", "Quantile:alpha=0.9", "RMSEWithUncertainty"])
def test_a_regressor_answers_on_the_scale_of_its_loss(loss: str, tmp_path: Path) -> None:
    model = catboost.CatBoostRegressor(loss_function=loss, **QUIET).fit(DIABETES, PROGRESS)
    model.save_model(str(tmp_path / "model.cbm"))
    loaded = load(tmp_path / "model.cbm")
    np.testing.assert_array_equal(loaded.predict(DIABETES[:9]), model.predict(DIABETES[:9]))
    assert loaded.describe()["loss"] == loss.partition(":")[0]


def test_a_classifier_answers_with_probabilities_and_tells_its_classes(tmp_path: Path) -> None:
    names = np.array(["barolo", "grignolino", "barbera"])[KINDS]
    model = catboost.CatBoostClassifier(**QUIET).fit(WINE, names)
    model.save_model(str(tmp_path / "model.cbm"))
    loaded = load(tmp_path / "model.cbm")
    np.testing.assert_array_equal(loaded.predict(WINE[:9]), model.predict_proba(WINE[:9]))
    assert loaded.describe()["classes"] == list(model.classes_)


def test_categories_are_words_or_whole_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    colours = random.choice(["red", "green", "blue"], 300)
    years = random.integers(1990, 1994, 300)
    sizes = random.normal(size=300)
    rows = [[float(s), str(c), int(y)] for s, c, y in zip(sizes, colours, years, strict=True)]
    wanted = sizes + (colours == "red") * 3.0 + (years == 1991) * 2.0
    model = catboost.CatBoostRegressor(**QUIET).fit(rows, wanted, cat_features=[1, 2])
    model.save_model(str(tmp_path / "model.cbm"))
    flow = [(model_type.CATBOOST, tmp_path / "model.cbm")]
    np.testing.assert_allclose(Conduit("here", None, flow).run(rows[:8]), model.predict(rows[:8]))


def test_what_is_no_model_of_catboost_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.cbm").write_bytes(b"nothing")
    with pytest.raises(LoadFailed, match=r"model\.cbm is not a model file of CatBoost"):
        load(tmp_path / "model.cbm")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(catboost.CatBoostRegressor()))
    with pytest.raises(LoadFailed, match="not fitted"):
        load(tmp_path / "model.pkl")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(LoadFailed, match=r"holds a builtins\.list; CATBOOST needs"):
        load(tmp_path / "other.pkl")
