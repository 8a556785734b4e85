"""Which module loads which model type, and what a zygote imports ahead for it.

`load_model` is called by `penstock.flow.assemble`; `PRELOAD` is read by whoever starts workers.
Importing this module imports no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import Model, ModelFile

_FAMILIES: dict[ModelType, str] = {
    ModelType.TORCH: "torch",
    ModelType.XGBOOST_CLASSIFIER: "xgboost",
    ModelType.XGBOOST_REGRESSOR: "xgboost",
    ModelType.SKLEARN: "sklearn",
    ModelType.SKLEARN_CLASSIFIER: "sklearn",
    ModelType.SKLEARN_PREPROCESSOR: "sklearn",
    ModelType.ONNX: "onnx",
}

_LIBRARIES: dict[str, tuple[str, ...]] = {
    "torch": ("numpy", "torch", "penstock.loaders.practice.torch"),
    "xgboost": (
        "numpy", "scipy.sparse", "scipy.special", "xgboost", "penstock.loaders.practice.xgboost",
    ),
    "sklearn": ("numpy", "scipy.sparse", "joblib", "sklearn", "sklearn.pipeline"),
    "onnx": ("numpy", "onnxruntime"),
}  # fmt: skip

#: Modules to import before the first model of a type is loaded, slowest last.
PRELOAD: dict[ModelType, tuple[str, ...]] = {
    kind: _LIBRARIES[family] for kind, family in _FAMILIES.items()
}
PRELOAD[ModelType.PYTHON] = ()


def load_model(file: ModelFile, model_type: ModelType, threads: int) -> Model:
    """Return the model in `file`.

    Args:
        file: The model file.
        model_type: What it holds.
        threads: Threads one call of the model may use.

    Raises:
        LoadFailed: The framework is missing, or the file is not what the type says; the message
            has the framework's own words.
    """
    family = _FAMILIES[model_type]
    module = import_module(f"penstock.loaders.{family}")
    try:
        return cast("Model", module.load(file, model_type, threads))
    except LoadFailed:
        raise
    except ModuleNotFoundError as error:
        raise _missing_library(error, family, model_type) from error
    except Exception as error:
        raise LoadFailed(
            f"{file.name} cannot be loaded as {model_type.name}: "
            f"{type(error).__name__}: {_first_lines(str(error))}",
            type=type(error).__name__,
        ) from error


def _missing_library(error: ModuleNotFoundError, family: str, model_type: ModelType) -> LoadFailed:
    needed = {name.partition(".")[0] for name in _LIBRARIES[family]}
    hint = f"Install {error.name!r} in the server's environment or add it to requirements."
    if (error.name or "").partition(".")[0] in needed:
        hint = f'Run: pip install "penstock[{family}]" in the server\'s environment.'
    return LoadFailed(
        f"{model_type.name} needs the module {error.name!r}, which is not installed.",
        type="ModuleNotFoundError",
        hint=hint,
    )


def _first_lines(text: str, limit: int = 600) -> str:
    text = "\n".join(line for line in text.strip().splitlines()[:6] if line.strip())
    return text if len(text) <= limit else text[:limit] + "…"
