"""Whether loading a model runs code that came with it, told from its files; nothing is loaded.

`deploy` shows the answer, the server works it out again for itself (`penstock.control.model_files`)
and may refuse such models. The rules follow the loaders: what they read in a format that can hold
code counts as code, whether or not this file holds any.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from penstock.codec.pickles import pickle_facts
from penstock.core.errors import ModelRunsCode
from penstock.core.model_types import PLUGIN_GROUP, ModelType
from penstock.core.pipelines import ARGUMENTS_FILE, PipelineSource

#: Types whose format can hold code whatever the file: MLflow folders name Python modules to import,
#: and a SavedModel is a program that may read and write files.
_PROGRAMS = frozenset({"mlflow", "tensorflow"})

_BUILT_IN = frozenset(kind.value for kind in ModelType)

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
    if known is not None:
        return "" if Path(name).suffix.lower() in known else "it is a pickle"
    return _code_of_added(model_type, name)


def code_in_folder(model_type: str, files: Iterable[tuple[str, Path]]) -> str:
    """Return why loading a model's folder may run code; empty if it cannot.

    Args:
        model_type: Value of the model type.
        files: Path in the folder, and where the bytes are, of each file.
    """
    if model_type in _PROGRAMS:
        return f"{model_type.upper()} folders are programs"
    is_added = model_type not in _BUILT_IN
    for relative, path in files:
        if model_type == "hf_pipeline" and relative == ARGUMENTS_FILE:
            code = PipelineSource.from_file(path, Path()).code
            if code:
                return code
        if relative.lower().endswith((".py", ".pyc", ".so")):
            return f"{relative} is code"
        if pickle_facts(path, relative, most_opcodes=1) is not None:
            return f"{relative} is a pickle"
        added = _code_of_added(model_type, relative) if is_added else ""
        if added:
            return added
    return ""


def _code_of_added(model_type: str, name: str) -> str:
    """Return why a file of a type that a package adds may run code: the package has to say."""
    declared = _declared(model_type)
    if Path(name).suffix.lower() in declared:
        return ""
    what = f"{model_type.upper()} is a type that a package adds"
    if not declared:
        return f"{what}, and the package does not say which of its files are data"
    return f"{what}, and {Path(name).name} is not one of its data files ({', '.join(declared)})"


def _declared(model_type: str) -> tuple[str, ...]:
    """Return the suffixes that the installed package of a type says are data.

    Its loader's module is imported for that, here and on the server alike: what a client says does
    not count, and a package that is in a version's own environment only says nothing here.
    """
    try:
        for entry in entry_points(group=PLUGIN_GROUP, name=model_type):
            given = getattr(entry.load(), "DATA_SUFFIXES", ())
            return tuple(str(suffix).lower() for suffix in given)
    except Exception:  # noqa: BLE001 - a package that cannot be imported vouches for nothing
        return ()
    return ()


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
