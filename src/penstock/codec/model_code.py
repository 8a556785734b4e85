"""Whether loading a model runs code that came with it, told from its files; nothing is loaded.

`deploy` shows the answer, the server works it out again for itself (`penstock.control.model_files`)
and may refuse such models. The rules follow the loaders: what they read in a format that can hold
code counts as code, whether or not this file holds any.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from penstock.codec.pickles import pickle_facts
from penstock.core.errors import ModelRunsCode

#: Types whose format can hold code whatever the file: MLflow folders name Python modules to import,
#: and a SavedModel is a program that may read and write files.
_PROGRAMS = frozenset({"mlflow", "tensorflow"})

#: Types whose files are numbers and structure only, however they are called.
_DATA = frozenset({"onnx", "keras", "safetensors", "skops"})

#: Suffixes that a type reads as data; every other suffix of it is unpickled.
_DATA_SUFFIXES: dict[str, frozenset[str]] = {
    "xgboost_classifier": frozenset({".json", ".ubj"}),
    "xgboost_regressor": frozenset({".json", ".ubj"}),
    "sklearn": frozenset({".skops"}),
    "sklearn_classifier": frozenset({".skops"}),
    "sklearn_preprocessor": frozenset({".skops"}),
    "lightgbm": frozenset({".txt", ".lgb", ".model"}),
    "catboost": frozenset({".cbm", ".json"}),
}


def code_in_file(model_type: str, name: str, path: Path, weights_only: bool) -> str:
    """Return why loading a model's file may run code; empty if it cannot.

    Args:
        model_type: Value of the model type.
        name: The file's name on the user's machine; its suffix decides how it is read.
        path: Where its bytes are.
        weights_only: Whether the stage makes the module that the file's weights belong to.
    """
    if model_type in _DATA:
        return ""
    if model_type == "torch":
        return _code_in_torch(path, weights_only)
    known = _DATA_SUFFIXES.get(model_type)
    if known is None:
        return f"{model_type} is a type that a package adds"
    return "" if Path(name).suffix.lower() in known else "it is a pickle"


def code_in_folder(model_type: str, files: Iterable[tuple[str, Path]]) -> str:
    """Return why loading a model's folder may run code; empty if it cannot.

    Args:
        model_type: Value of the model type.
        files: Path in the folder, and where the bytes are, of each file.
    """
    if model_type in _PROGRAMS:
        return f"{model_type.upper()} folders are programs"
    for relative, path in files:
        if relative.lower().endswith((".py", ".pyc", ".so")):
            return f"{relative} is code"
        if pickle_facts(path, relative, most_opcodes=1) is not None:
            return f"{relative} is a pickle"
    return ""


def _code_in_torch(path: Path, weights_only: bool) -> str:
    if not zipfile.is_zipfile(path):
        return "it is a pickle"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        return ""  # TorchScript: read by torch's own reader, which makes no Python objects
    if any(name.endswith("/models/model.json") for name in names):
        # torch.export.load evaluates expressions of the file, and unpickles where it has to.
        return "torch.export.load can be made to run code"
    return "" if weights_only else "it is a pickle"


def runs_code(stage: int, title: str, reason: str) -> ModelRunsCode:
    """Return the error for a model that can run code on load where that is not allowed."""
    return ModelRunsCode(
        f"The model of stage {stage} ({title}) can run code when it is loaded, because {reason}; "
        "this server refuses such models.",
        stage=stage,
        hint="Save it in a format that holds no code: .skops, TorchScript, .safetensors, ONNX, "
        ".keras, or the library's own file (.ubj, .txt, .cbm).",
    )
