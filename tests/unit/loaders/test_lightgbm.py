"""LIGHTGBM: the library's own answers, from its own files and pickles, numbers and categories."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from penstock import Conduit, PenstockError, model_type
from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile
from penstock.loaders.registry import load_model

TREES: dict[str, Any] = {
    "n_estimators": 15, "num_leaves": 7, "min_child_samples": 5, "n_jobs": 1, "verbose": -1,
    "random_state": 3,
}  # fmt: skip
DATA = {
    "classes": load_wine(return_X_y=True),
    "two": load_breast_cancer(return_X_y=True),
    "numbers": load_diabetes(return_X_y=True),
}


def fitted(name: str, **options: Any) -> Any:
    rows, wanted = DATA[name]
    kind = lightgbm.LGBMRegressor if name == "numbers" else lightgbm.LGBMClassifier
    return kind(**{**TREES, **options}).fit(rows, wanted)


def load(path: Path) -> Any:
    return load_model(ModelFile(path, path.name), ModelType.LIGHTGBM, 1)


def saved(model: Any, folder: Path) -> Path:
    path = folder / "model.txt"
    model.booster_.save_model(str(path))
    return path


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_answers_are_the_librarys_bit_for_bit(name: str, rows: int, tmp_path: Path) -> None:
    model = fitted(name)
    loaded = load(saved(model, tmp_path))
    assert loaded.describe()["direct_call"]
    table = np.ascontiguousarray(DATA[name][0][:rows])
    own = model.predict(table) if name == "numbers" else model.predict_proba(table)
    np.testing.assert_array_equal(loaded.predict(table), own)
    np.testing.assert_array_equal(loaded.predict(np.asfortranarray(table)), own)


def test_missing_values_and_early_stopping_are_the_librarys(tmp_path: Path) -> None:
    rows, wanted = DATA["numbers"]
    model = lightgbm.LGBMRegressor(**{**TREES, "n_estimators": 300})
    stop = [lightgbm.early_stopping(3, verbose=False)]
    model.fit(
        rows[:300], wanted[:300], eval_X=(rows[300:],), eval_y=(wanted[300:],), callbacks=stop
    )
    table = rows[:20].copy()
    table[3, 2] = np.nan
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    for path in (saved(model, tmp_path), tmp_path / "model.pkl"):
        np.testing.assert_array_equal(load(path).predict(table), model.predict(table))


def test_categories_of_a_data_frame_are_sent_as_words(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=300),
            "colour": pd.Categorical(random.choice(["red", "green", "blue"], 300)),
            "weight": random.normal(size=300),
        }
    )
    wanted = frame["size"] + (frame["colour"] == "red") * 3.0
    model = lightgbm.LGBMRegressor(**TREES).fit(frame, wanted)
    flow = [(model_type.LIGHTGBM, saved(model, tmp_path))]
    asked = frame.head(6)
    answer = Conduit("here", None, flow).run(asked.to_dict("records"))
    np.testing.assert_allclose(answer, model.predict(asked))
    lists = [[row["size"], row["colour"], row["weight"]] for row in asked.to_dict("records")]
    assert Conduit("here", None, flow).run(lists) == answer


def test_columns_by_name_are_those_it_was_fitted_on(tmp_path: Path) -> None:
    frame = load_wine(as_frame=True).data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of blanks in names
        model = lightgbm.LGBMClassifier(**TREES).fit(frame, load_wine().target)
    flow = [(model_type.LIGHTGBM, saved(model, tmp_path))]
    names = model.booster_.feature_name()
    rows = [dict(zip(names, row, strict=True)) for row in frame.to_numpy()[:3].tolist()]
    answer = Conduit("here", None, flow).run(rows)
    np.testing.assert_allclose(answer, model.predict_proba(frame.head(3)))
    with pytest.raises(PenstockError, match="without"):
        Conduit("here", None, flow).run([{"alcohol": 1.0}])


@pytest.mark.parametrize("content", [b"", b"tree\nnothing", b"{}"])
def test_what_is_no_model_of_lightgbm_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_bytes(content)
    with pytest.raises(LoadFailed, match=r"model\.txt"):
        load(path)


def test_a_pickle_of_something_else_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(LoadFailed, match=r"holds a builtins\.dict; LIGHTGBM needs"):
        load(path)
