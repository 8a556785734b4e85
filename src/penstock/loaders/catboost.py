"""CATBOOST: models in CatBoost's own files, or pickled.

A model with a classification loss answers as `CatBoostClassifier.predict_proba` does, one with a
loss on a logarithmic scale as `CatBoostRegressor.predict` does, any other with its formula's value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import (
    ModelFile,
    Takes,
    TensorSpec,
    library_text,
    read_any_pickle,
    wrong_content,
)

_CLASSES = frozenset({"CrossEntropy", "Logloss", "MultiClass", "MultiClassOneVsAll"})
_LOGARITHMIC = frozenset({"Poisson", "Tweedie"})
_PICKLES = frozenset({".pkl", ".joblib"})


class CatBoostModel:
    """A model of CatBoost. Takes a table; a classifier returns rows × classes, float64."""

    takes: Takes = "table"
    joinable = True
    #: Trees add up row by row: the same bits however many rows there are.
    exact = True
    only_library = True

    def __init__(self, model: Any, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._loss = _loss_of(model)
        self._kind = "RawFormulaVal"
        if self._loss in _CLASSES:
            self._kind = "Probability"
        elif self._loss in _LOGARITHMIC:
            self._kind = "Exponent"
        elif self._loss == "RMSEWithUncertainty":
            self._kind = self._loss
        names = tuple(map(str, model.feature_names_))
        self._categories = list(model.get_cat_feature_indices())
        self._texts = list(model.get_text_feature_indices())
        plain = not self._categories and not self._texts
        made_up = names == tuple(str(number) for number in range(len(names)))
        self.inputs = (
            TensorSpec(
                "input",
                "float32" if plain else None,
                (None, len(names)),
                n_features=len(names),
                columns=None if made_up else names,
            ),
        )

    def predict(self, value: Any) -> Any:
        """Return class probabilities (rows × classes) or predictions, float64."""
        if (self._categories or self._texts) and type(value) is np.ndarray:
            value = self._rows(value)
        return self._model.predict(value, prediction_type=self._kind, thread_count=self._threads)

    def _rows(self, table: Any) -> list[list[Any]]:
        """Return rows as lists, with categories as whole numbers or texts, as CatBoost wants."""
        rows: list[list[Any]] = table.tolist()
        for row in rows:
            for index in self._categories:
                row[index] = _category(row[index])
            for index in self._texts:
                row[index] = str(row[index])
        return rows

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is a fresh array."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, loss, trees, inputs and classes."""
        facts: dict[str, Any] = {
            "library": library_text("catboost"),
            "loss": self._loss,
            "trees": int(self._model.tree_count_),
            "inputs": [spec.facts() for spec in self.inputs],
        }
        if self._loss in _CLASSES:
            facts["classes"] = np.asarray(self._model.classes_).tolist()
        if self._categories:
            facts["categorical"] = self._categories
        return facts


def load(file: ModelFile, model_type: ModelType, threads: int) -> CatBoostModel:
    """Return the model in a `.cbm`, `.json` or pickle file, on `threads` threads.

    Raises:
        LoadFailed: Not a file of CatBoost, or a pickle of something else.
    """
    import catboost

    if file.suffix in _PICKLES:
        model = read_any_pickle(file)
        if not isinstance(model, catboost.CatBoost):
            raise wrong_content(file, model_type, model, "a CatBoostClassifier or other CatBoost")
    else:
        model = catboost.CatBoost()
        try:
            model.load_model(str(file.path), format="json" if file.suffix == ".json" else "cbm")
        except catboost.CatBoostError as error:
            raise LoadFailed(
                f"{file.name} is not a model file of CatBoost: {error}",
                type="CatBoostError",
                hint='Save it with model.save_model("model.cbm").',
            ) from error
    if not model.is_fitted():
        raise LoadFailed(f"{file.name} holds a model that is not fitted.")
    return CatBoostModel(model, threads)


def _loss_of(model: Any) -> str:
    given = model.get_all_params().get("loss_function", "")
    return str(given).partition(":")[0]


def _category(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    return value if isinstance(value, (int, str)) else str(value)
