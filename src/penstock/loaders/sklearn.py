"""SKLEARN, SKLEARN_CLASSIFIER, SKLEARN_PREPROCESSOR: `.pkl`, `.joblib` and `.skops` files.

`predict`, `predict_proba` and `transform` are called on the fitted estimator itself, so answers
are scikit-learn's own. Estimators fitted on a data frame get one again where the columns are
chosen by name; where they are not, the estimator forgets the names, which saves the frame and a
warning on every call and changes no answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import (
    ModelFile,
    Takes,
    TensorSpec,
    library_text,
    read_any_pickle,
    wrong_content,
)

_METHODS: dict[ModelType, str] = {
    ModelType.SKLEARN: "predict",
    ModelType.SKLEARN_CLASSIFIER: "predict_proba",
    ModelType.SKLEARN_PREPROCESSOR: "transform",
}

_HINTS: dict[str, str] = {
    "predict_proba": "Use model_type.SKLEARN for its labels, or fit it with probabilities "
    "(for example SVC(probability=True) or CalibratedClassifierCV).",
    "predict": "Use model_type.SKLEARN_PREPROCESSOR if it transforms its input.",
    "transform": "Use model_type.SKLEARN if it predicts.",
}


_INERT = frozenset({bool, int, float, complex, str, bytes, type(None)})


class SklearnModel:
    """A fitted estimator. Takes a table, or a list of texts when it declares no columns."""

    takes: Takes = "table"
    joinable = True
    #: Linear algebra adds up in another order for another number of rows.
    exact = False

    def __init__(self, estimator: Any, method: str, notes: list[str]) -> None:
        self._estimator = estimator
        self._method = method
        self._notes = notes
        features = getattr(estimator, "n_features_in_", None)
        names = getattr(estimator, "feature_names_in_", None)
        columns = None if names is None else tuple(map(str, names))
        shape = None if features is None else (None, int(features))
        self.inputs = (
            TensorSpec(
                shape=shape, n_features=None if features is None else int(features), columns=columns
            ),
        )
        self.only_library = _is_library_code(estimator, set())
        self._frame = _frame_maker(estimator, columns)
        self._call: Callable[[Any], Any] = getattr(estimator, method)

    def predict(self, value: Any) -> Any:
        """Return the estimator's answer for a table (rows × columns)."""
        if self._frame is not None and type(value) is np.ndarray:
            value = self._frame(value)
        return self._call(value)

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is a fresh array."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, estimator, method, classes and warnings while loading."""
        facts: dict[str, Any] = {
            "library": library_text("sklearn"),
            "estimator": type(self._estimator).__name__,
            "method": self._method,
            "inputs": [spec.facts() for spec in self.inputs],
        }
        classes = getattr(self._estimator, "classes_", None)
        if isinstance(classes, np.ndarray) and classes.ndim == 1:
            facts["classes"] = classes.tolist()
        if self._notes:
            facts["warnings"] = self._notes
        return facts


def load(file: ModelFile, model_type: ModelType, threads: int) -> SklearnModel:
    """Return the estimator in `file`, limited to `threads` threads.

    Raises:
        LoadFailed: Not an estimator, or it has no `predict`, `predict_proba` or `transform`.
    """
    import_module("sklearn")  # where it is missing, that is said and not what the file lacks
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = _read(file)
    notes = [f"{w.category.__name__}: {' '.join(str(w.message).split())}" for w in caught]
    return wrap(file, estimator, model_type, threads, notes)


def wrap(
    file: ModelFile, estimator: Any, model_type: ModelType, threads: int, notes: list[str]
) -> SklearnModel:
    """Return the model of an estimator that was loaded; `notes` are warnings to show.

    Raises:
        LoadFailed: Not an estimator, not fitted, or without the method of its type.
    """
    import sklearn

    method = _METHODS[model_type]
    if not hasattr(estimator, "get_params") and not hasattr(estimator, method):
        raise wrong_content(file, model_type, estimator, "a fitted scikit-learn estimator")
    if not hasattr(estimator, method):
        raise LoadFailed(
            f"{file.name} holds a {type(estimator).__name__}, which has no {method}; "
            f"{model_type.name} needs it.",
            hint=_HINTS[method],
        )
    _check_fitted(file, estimator, sklearn)
    _limit_threads(estimator, threads)
    return SklearnModel(estimator, method, notes)


def _read(file: ModelFile) -> Any:
    if file.suffix == ".skops":
        from penstock.loaders.skops import read

        return read(file)
    return read_any_pickle(file)


def _check_fitted(file: ModelFile, estimator: Any, sklearn: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(estimator, sklearn.base.BaseEstimator):
        return
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise LoadFailed(
            f"{file.name} holds a {type(estimator).__name__} that is not fitted.",
            hint="Call fit before saving it.",
        ) from None
    except TypeError:
        return  # an estimator of another library, without `fit`


def _limit_threads(estimator: Any, threads: int) -> None:
    if not hasattr(estimator, "get_params") or not hasattr(estimator, "set_params"):
        return
    parameters = estimator.get_params(deep=True)
    wide = {
        name: threads
        for name, value in parameters.items()
        if (name == "n_jobs" or name.endswith("__n_jobs")) and value not in (None, 1)
    }
    if wide:
        estimator.set_params(**wide)


def _frame_maker(estimator: Any, columns: tuple[str, ...] | None) -> Callable[[Any], Any] | None:
    if columns is None:
        return None
    if "feature_names_in_" in vars(estimator) and not _is_composed(estimator):
        del estimator.feature_names_in_
        return None
    if find_spec("pandas") is None:
        return None
    import pandas as pd

    names = list(columns)

    def frame(table: Any) -> Any:
        made = pd.DataFrame(table, columns=names)
        return made.infer_objects() if table.dtype.kind == "O" else made

    return frame


def _is_composed(estimator: Any) -> bool:
    if not hasattr(estimator, "get_params"):
        return True
    held = [*estimator.get_params(deep=False).values(), *vars(estimator).values()]
    return any(hasattr(part, "fit") or isinstance(part, (list, tuple)) for part in held)


def _is_library_code(value: Any, seen: set[int]) -> bool:
    """Whether everything an estimator holds is scikit-learn's, NumPy's or plain: no user code."""
    kind = type(value)
    if kind in _INERT or id(value) in seen:
        return True
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject or all(
            _is_library_code(item, seen) for item in value.ravel().tolist()
        )
    home = (value if kind is type else kind).__module__.partition(".")[0]
    if kind in (list, tuple, set, frozenset, dict):
        parts = [*value.keys(), *value.values()] if kind is dict else value
    elif home == "sklearn" and hasattr(value, "__dict__"):
        parts = vars(value).values()
    else:
        return home in {"numpy", "scipy"} or (home == "sklearn" and not callable(value))
    return all(_is_library_code(part, seen) for part in parts)
