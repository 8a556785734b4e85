"""XGBOOST_CLASSIFIER and XGBOOST_REGRESSOR: the booster in place, exactly as the wrapper answers.

`Booster.inplace_predict` spends half its time in Python. `DirectCall` calls the C function behind
it with everything that does not change prepared once. It is used only after it gave the same bits
as `inplace_predict` while loading; otherwise, and for data frames, sparse matrices and `gblinear`,
the library's own Python call is used.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import (
    ModelFile,
    Takes,
    TensorSpec,
    library_text,
    read_pickle,
    wrong_content,
)
from penstock.loaders.device import xgboost_device
from penstock.loaders.xgboost_direct import DirectCall

_ONE = np.ones(1, np.float32)

_NOT_CLASSES = ("reg:", "rank:", "count:", "survival:")


class XGBoostModel:
    """A booster. Takes a float32 table; a classifier returns rows × classes, float32."""

    takes: Takes = "table"
    joinable = True
    #: Trees add up row by row: the same bits however many rows there are.
    exact = True
    only_library = True

    def __init__(self, booster: Any, classifier: bool, missing: float) -> None:
        learner = json.loads(booster.save_config())["learner"]
        self._booster = booster
        self._classifier = classifier
        self._missing = missing
        self._objective: str = learner["objective"]["name"]
        self._linear = learner["gradient_booster"]["name"] == "gblinear"
        self._classes = max(2, int(learner["learner_model_param"]["num_class"]))
        self._range = (0, 0) if self._linear else _best_range(booster)
        self._margin = classifier and self._objective == "multi:softmax"
        self._softmax: Callable[..., Any] | None = _softmax() if self._margin else None
        features = int(booster.num_features())
        names = booster.feature_names
        columns = tuple(map(str, names)) if names else None
        self.inputs = (
            TensorSpec("input", "float32", (None, features), n_features=features, columns=columns),
        )
        self._direct = None if self._linear else self._proven_direct(features)

    def _proven_direct(self, features: int) -> DirectCall | None:
        try:
            direct = DirectCall(self._booster, features, self._margin, self._range, self._missing)
            probe = np.linspace(-3.0, 3.0, 3 * features, dtype=np.float32).reshape(3, features)
            tables = (probe, probe[1:2], probe[::-1].copy(), probe[:2])
            same = all(
                direct(table).tobytes() == np.ascontiguousarray(self._library(table)).tobytes()
                for table in tables
            )
        except (AttributeError, TypeError, ValueError, KeyError, ctypes.ArgumentError):
            return None
        return direct if same else None

    def _library(self, value: Any) -> Any:
        """Return the raw prediction through the library's own Python call."""
        kind = "margin" if self._margin else "value"
        if not self._linear:
            return self._booster.inplace_predict(
                value, iteration_range=self._range, predict_type=kind, missing=self._missing
            )
        import xgboost

        matrix = xgboost.DMatrix(value, missing=self._missing)
        matrix.feature_names = self._booster.feature_names
        return self._booster.predict(matrix, output_margin=self._margin)

    def predict(self, value: Any) -> Any:
        """Return class probabilities (rows × classes) or predictions, float32."""
        direct = self._direct
        if direct is not None and type(value) is np.ndarray and len(value):
            raw = direct(value)
        else:
            raw = self._library(value)
        if not self._classifier:
            return raw
        if raw.ndim == 1:
            both = np.empty((raw.shape[0], 2), np.float32)
            both[:, 1] = raw
            np.subtract(_ONE, raw, both[:, 0])
            return both
        return raw if self._softmax is None else self._softmax(raw, axis=1)

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is a fresh array."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, objective, trees and classes."""
        facts: dict[str, Any] = {
            "library": library_text("xgboost"),
            "objective": self._objective,
            "rounds": int(self._booster.num_boosted_rounds()),
            "inputs": [spec.facts() for spec in self.inputs],
            "direct_call": self._direct is not None,
        }
        if self._classifier:
            facts["classes"] = self._classes
        if self._range[1]:
            facts["best_iteration"] = self._range[1] - 1
        return facts


def load(file: ModelFile, model_type: ModelType, threads: int) -> XGBoostModel:
    """Return the booster in a `.json`, `.ubj` or `.pkl` file, on `threads` threads.

    Raises:
        LoadFailed: A pickle of something else, or a regressor given as a classifier.
    """
    import xgboost

    classifier = model_type is ModelType.XGBOOST_CLASSIFIER
    missing = math.nan
    declared: str | None = None
    if file.suffix == ".pkl":
        held = read_pickle(file)
        booster, missing, declared = _unwrap(file, model_type, held, xgboost)
    else:
        booster = xgboost.Booster()
        booster.load_model(bytearray(file.path.read_bytes()))
        declared = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
    booster.set_param({"nthread": threads, "device": xgboost_device()})
    _check_kind(file, classifier, declared, booster)
    return XGBoostModel(booster, classifier, missing)


def _unwrap(
    file: ModelFile, model_type: ModelType, held: Any, xgboost: Any
) -> tuple[Any, float, str | None]:
    if isinstance(held, xgboost.Booster):
        return held, math.nan, None
    if not hasattr(held, "get_booster"):
        raise wrong_content(
            file, model_type, held, "an XGBClassifier, XGBRegressor or xgboost.Booster"
        )
    declared = getattr(held, "_estimator_type", None)
    if declared is None:
        declared = "classifier" if hasattr(held, "predict_proba") else "regressor"
    return held.get_booster(), float(held.missing), str(declared)


def _check_kind(file: ModelFile, classifier: bool, declared: str | None, booster: Any) -> None:
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if classifier and declared != "classifier" and objective.startswith(_NOT_CLASSES):
        raise LoadFailed(
            f"{file.name} is a regressor (objective {objective}), not a classifier.",
            hint="Use model_type.XGBOOST_REGRESSOR for it.",
        )
    if not classifier and declared == "classifier":
        raise LoadFailed(
            f"{file.name} holds a classifier (objective {objective}).",
            hint="Use model_type.XGBOOST_CLASSIFIER for it.",
        )


def _best_range(booster: Any) -> tuple[int, int]:
    best = booster.attr("best_iteration")
    return (0, int(best) + 1) if best is not None else (0, 0)


def _softmax() -> Callable[..., Any]:
    return import_module("scipy.special").softmax  # type: ignore[no-any-return]
