"""Which module loads which model type, and what a zygote imports ahead for it.

`load_model` is called by `penstock.flow.assemble`; `PRELOAD` is read by whoever starts workers.
Importing this module imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from penstock.core.errors import LoadFailed
from penstock.core.memory_limit import memory_hint
from penstock.core.model_types import PLUGIN_GROUP, AnyType, ModelType, PluginType
from penstock.loaders.base import Model, ModelFile

Load = Callable[[ModelFile, AnyType, int], Model]

_FAMILIES: dict[ModelType, str] = {
    ModelType.TORCH: "torch",
    ModelType.XGBOOST_CLASSIFIER: "xgboost",
    ModelType.XGBOOST_REGRESSOR: "xgboost",
    ModelType.SKLEARN: "sklearn",
    ModelType.SKLEARN_CLASSIFIER: "sklearn",
    ModelType.SKLEARN_PREPROCESSOR: "sklearn",
    ModelType.SKOPS: "skops",
    ModelType.LIGHTGBM: "lightgbm",
    ModelType.CATBOOST: "catboost",
    ModelType.ONNX: "onnx",
    ModelType.KERAS: "keras",
    ModelType.SAFETENSORS: "safetensors",
    ModelType.TENSORFLOW: "tensorflow",
    ModelType.SPACY: "spacy",
    ModelType.HUGGINGFACE_PIPELINE: "transformers",
    ModelType.MLFLOW: "mlflow",
}

_LIBRARIES: dict[str, tuple[str, ...]] = {
    "torch": ("numpy", "torch", "penstock.loaders.practice.torch"),
    "xgboost": (
        "numpy", "scipy.sparse", "scipy.special", "xgboost", "penstock.loaders.practice.xgboost",
    ),
    "sklearn": ("numpy", "scipy.sparse", "joblib", "sklearn", "sklearn.pipeline"),
    "skops": ("numpy", "scipy.sparse", "sklearn", "sklearn.pipeline", "skops.io"),
    "lightgbm": ("numpy", "scipy.sparse", "lightgbm"),
    "catboost": ("numpy", "catboost"),
    "onnx": ("numpy",),
    "keras": ("numpy", "penstock.loaders.keras_backend"),
    "safetensors": ("numpy", "torch", "safetensors.torch"),
    "tensorflow": ("numpy",),
    "spacy": ("numpy", "spacy"),
    "transformers": ("numpy", "torch", "transformers", "transformers.pipelines"),
    "mlflow": ("numpy", "pandas", "mlflow.pyfunc"),
}  # fmt: skip

#: Libraries that start a thread when they are imported. No process that forks may have them: each
#: worker imports its own. A zygote that tried would be ended, and import all that it had again.
_ALONE: dict[str, tuple[str, ...]] = {"onnx": ("onnxruntime",)}

#: Modules to import before the first model of a type is loaded, slowest last.
PRELOAD: dict[ModelType, tuple[str, ...]] = {
    kind: _LIBRARIES[family] for kind, family in _FAMILIES.items()
}
PRELOAD[ModelType.PYTHON] = ()


def load_model(file: ModelFile, model_type: AnyType, threads: int) -> Model:
    """Return the model in `file`.

    Args:
        file: The model's file or folder.
        model_type: What it holds.
        threads: Threads one call of the model may use.

    Raises:
        LoadFailed: The framework or the package that adds the type is missing, or the file is not
            what the type says; the message has the framework's own words.
    """
    try:
        if isinstance(model_type, PluginType):
            return _plugin(model_type)(file, model_type, threads)
        module = import_module(f"penstock.loaders.{_FAMILIES[model_type]}")
        return cast("Model", module.load(file, model_type, threads))
    except LoadFailed:
        raise
    except ModuleNotFoundError as error:
        raise _missing_library(error, model_type) from error
    except Exception as error:
        raise LoadFailed(
            f"{file.name} cannot be loaded as {model_type.name}: "
            f"{type(error).__name__}: {_first_lines(str(error))}",
            type=type(error).__name__,
            hint=memory_hint(error),
        ) from error


def _plugin(model_type: PluginType) -> Load:
    found = entry_points(group=PLUGIN_GROUP, name=model_type.value)
    if not found:
        raise LoadFailed(
            f"No installed package adds the model type {model_type.value!r}.",
            hint="Install the package that defines it in the server's environment, or add it to "
            "requirements.",
        )
    entry = next(iter(found))
    try:
        return cast("Load", entry.load().load)
    except Exception as error:
        raise LoadFailed(
            f"The loader {entry.value} of the model type {model_type.value!r} cannot be imported: "
            f"{type(error).__name__}: {_first_lines(str(error))}",
            type=type(error).__name__,
        ) from error


def _missing_library(error: ModuleNotFoundError, model_type: AnyType) -> LoadFailed:
    family = "" if isinstance(model_type, PluginType) else _FAMILIES[model_type]
    modules = (*_LIBRARIES.get(family, ()), *_ALONE.get(family, ()))
    needed = {family, *(name.partition(".")[0] for name in modules)}
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
