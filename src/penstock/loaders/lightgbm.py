"""LIGHTGBM: boosters in LightGBM's own text files, or pickled boosters and wrappers.

A model with a classification objective answers as `LGBMClassifier.predict_proba` does, any other as
`Booster.predict`. `DirectCall` is used only after it gave the same bits as `Booster.predict` while
loading; categories of data frames go through the library's own Python call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
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
from penstock.loaders.lightgbm_direct import DirectCall

#: Objectives whose predictions are probabilities of classes.
_CLASSES = frozenset({"binary", "multiclass", "multiclassova"})

_PICKLES = frozenset({".pkl", ".joblib"})


class LightGBMModel:
    """A booster. Takes a table; a classifier returns rows × classes, float64."""

    takes: Takes = "table"
    joinable = True
    #: Trees add up row by row: the same bits however many rows there are.
    exact = True
    only_library = True

    def __init__(self, booster: Any, threads: int) -> None:
        header = _header(booster)
        self._booster = booster
        self._threads = threads
        self._objective = header.get("objective", "").partition(" ")[0]
        self._binary = self._objective == "binary"
        best = int(booster.best_iteration or 0)
        self._iterations = best if best > 0 else -1
        self._frame = _frame_maker(booster, header)
        features = int(booster.num_feature())
        names = tuple(map(str, booster.feature_name()))
        made_up = names == tuple(f"Column_{number}" for number in range(features))
        self.inputs = (
            TensorSpec(
                "input",
                "float64" if self._frame is None else None,
                (None, features),
                n_features=features,
                columns=None if made_up else names,
            ),
        )
        self._direct = None if self._frame is not None else self._proven_direct(features)

    def _proven_direct(self, features: int) -> DirectCall | None:
        try:
            direct = DirectCall(self._booster, self._iterations, self._threads)
            probe = np.linspace(-3.0, 300.0, 3 * features).reshape(3, features)
            same = all(
                direct(table).tobytes() == np.ascontiguousarray(self._library(table)).tobytes()
                for table in (probe, probe[1:2], probe[::-1], probe[:2])
            )
        except (AttributeError, TypeError, ValueError, ctypes.ArgumentError):
            return None
        return direct if same else None

    def _library(self, value: Any) -> Any:
        return self._booster.predict(
            value, num_iteration=self._iterations, num_threads=self._threads
        )

    def predict(self, value: Any) -> Any:
        """Return class probabilities (rows × classes) or predictions, float64."""
        is_array = type(value) is np.ndarray
        if self._direct is not None and is_array and len(value):
            raw = self._direct(value)
        else:
            raw = self._library(self._frame(value) if self._frame and is_array else value)
        if not self._binary:
            return raw
        both = np.empty((len(raw), 2))
        both[:, 1] = raw
        np.subtract(1.0, raw, both[:, 0])
        return both

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is a fresh array."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, objective, trees and classes."""
        outputs = int(self._booster.num_model_per_iteration())
        facts: dict[str, Any] = {
            "library": library_text("lightgbm"),
            "objective": self._objective or "custom",
            "trees": int(self._booster.num_trees()),
            "inputs": [spec.facts() for spec in self.inputs],
            "direct_call": self._direct is not None,
        }
        if self._objective in _CLASSES:
            facts["classes"] = max(2, outputs)
        return facts


def load(file: ModelFile, model_type: ModelType, threads: int) -> LightGBMModel:
    """Return the booster in `file`, on `threads` threads.

    Raises:
        LoadFailed: Not a file of LightGBM, or a pickle of something else.
    """
    import lightgbm

    if file.suffix not in _PICKLES:
        text = file.path.read_text("utf-8")
        if not text.startswith("tree\n"):
            raise LoadFailed(
                f"{file.name} is not a model file of LightGBM.",
                hint='Save it with booster.save_model("model.txt"), or for LGBMClassifier and '
                'LGBMRegressor model.booster_.save_model("model.txt").',
            )
        return LightGBMModel(lightgbm.Booster(model_str=text), threads)
    held = read_any_pickle(file)
    booster = getattr(held, "booster_", held)
    if not isinstance(booster, lightgbm.Booster):
        raise wrong_content(file, model_type, held, "an LGBMClassifier, LGBMRegressor or Booster")
    return LightGBMModel(booster, threads)


def _header(booster: Any) -> dict[str, str]:
    """Return the facts at the start of the booster's text, by name."""
    text = booster.model_to_string(num_iteration=1).partition("\n\n")[0]
    return dict(line.partition("=")[::2] for line in text.splitlines())


def _frame_maker(booster: Any, header: dict[str, str]) -> Callable[[Any], Any] | None:
    """Return what makes a data frame with categories again; None if it was fitted on numbers."""
    categories = booster.pandas_categorical
    if not categories:
        return None
    import pandas as pd

    infos = header.get("feature_infos", "").split()
    names = booster.feature_name()
    # Numbers have a range in brackets, categories a list of codes.
    which = [name for name, info in zip(names, infos, strict=True) if info[0] not in "[n"]
    if len(which) != len(categories):
        raise LoadFailed(
            f"The model knows the values of {len(categories)} categorical columns and uses "
            f"{len(which)} of them, so it cannot be told which are which.",
            hint="Fit it without the categorical columns that it never uses.",
        )
    known = dict(zip(which, categories, strict=True))

    def frame(table: Any) -> Any:
        made = pd.DataFrame(table, columns=names)
        for name in names:
            if name in known:
                made[name] = pd.Categorical(made[name], categories=known[name])
            else:
                made[name] = made[name].astype(np.float64)
        return made

    return frame
