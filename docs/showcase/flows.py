"""Deploys the showcase: flows in several versions, one that fails, one that sleeps."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock import PenstockError, deploy, model_type

_HERE = Path(__file__).parent


def code(version: str, name: str) -> ModuleType:
    """Return a module of functions of one version, as if it were the user's own file."""
    path = _HERE / version / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def deploy_all(url: str, keys: dict[str, str], made: dict[str, Any]) -> None:
    """Deploy everything, with the deploy keys of two people."""

    def put(name: str, stages: list[Any], who: str = "anna-laptop", **options: Any) -> Any:
        return deploy(stages, name, keys[who], server=url, quiet=True, **options)

    _deploy_digits(put, made["digits"])
    for version in ("v1", "v2"):
        functions = code(version, "churn")
        stages = [
            (model_type.SKLEARN_PREPROCESSOR, made["churn_scaler"], {"pre": functions.prepare}),
            (model_type.XGBOOST_CLASSIFIER, made["churn"], {"post": functions.to_risk}),
        ]
        put("churn-scorer", stages, example=made["customers"][:2], auto_rollback=False)
    small = code("v1", "small")
    rows = made["cancer_rows"]
    put(
        "sensor-anomaly",
        [
            (model_type.SKLEARN_PREPROCESSOR, made["scaler"], {"pre": small.as_rows}),
            (model_type.SKLEARN, made["anomaly"]),
        ],
        example=rows[:2],
    )
    put(
        "demand-forecast",
        [(model_type.XGBOOST_REGRESSOR, made["demand"], {"post": small.rounded})],
        example=made["demand_rows"][:2],
    )
    put(
        "iris-classes",
        [(model_type.SKLEARN_CLASSIFIER, made["iris"])],
        example=made["iris_rows"][:2],
    ).monitor(
        made["iris_rows"],
        made["iris_answers"],
        features=["sepal length", "sepal width", "petal length", "petal width"],
        targets=["setosa", "versicolor", "virginica"],
        min_accuracy=0.9,
    )
    put("photo-tags", [(model_type.PYTHON, small.slow_tags)], example=["a", "bb"])
    put("support-router", [(model_type.PYTHON, small.queues)], "jonas-ci", example=["a", "bb"])
    put(
        "invoice-fields",
        [(model_type.PYTHON, small.fields, {"pre": small.as_text, "post": small.report})],
        "jonas-ci",
        example=["a", "bb"],
        check_locally=False,  # each answer has another address
    )
    ranked = [
        (model_type.SKLEARN_PREPROCESSOR, made["scaler"]),
        (model_type.SKLEARN_CLASSIFIER, made["ranker"]),
    ]
    for name, who in (("lead-ranker", "anna-laptop"), ("returns-risk", "jonas-ci")):
        put(name, ranked, who, example=rows[:2], min_replicas=0, cooldown=1)
    with contextlib.suppress(PenstockError):  # this one is there to have failed
        put("speech-lang", [(model_type.SKLEARN, _broken(made))])


def _deploy_digits(put: Any, digits: dict[str, Any]) -> None:
    """Four versions: one that never got ready, because it names the wrong function."""
    pair = {"example": ["a", "b"], "example_files": digits["files"][:2], "replicas": 2}
    first = code("v1", "digits")
    put("digits", _digits(digits, first), "jonas-ci", **pair)
    wrong = _digits(digits, first)
    wrong[0][2]["pre"] = first.to_gray
    with contextlib.suppress(PenstockError):
        put("digits", wrong, "jonas-ci", check_locally=False, **pair)
    put("digits", _digits(digits, first), timeout_s=60, **pair)
    second = code("v2", "digits")
    put("digits", _digits(digits, second), timeout_s=60, **pair)


def _digits(digits: dict[str, Any], functions: ModuleType) -> list[Any]:
    torch, xgb = digits["models"]
    return [
        (model_type.TORCH, torch, {"pre": functions.read_images}),
        (model_type.XGBOOST_CLASSIFIER, xgb, {"post": functions.to_labels}),
    ]


def _broken(made: dict[str, Any]) -> Path:
    path = Path(made["scaler"]).with_name("speech.joblib")
    path.write_bytes(b"\x80\x04 this is no model")
    return path
