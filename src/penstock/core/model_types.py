"""The model types: what a stage may hold, and what its source on the user's machine looks like.

`penstock.core.flow` checks sources against `artifact_of`; `penstock.loaders.registry` finds the
loader. Types that are not built in are `PluginType`s, which an installed package defines.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, EnumMeta
from typing import Any

#: Entry points of packages that add model types. An entry's name is the type's value, its object
#: a module or object with `load(file, model_type, threads)`; see `docs/how-to/own-model-types.md`.
PLUGIN_GROUP = "penstock.loaders"


class _Members(EnumMeta):
    """Says which model types there are, where one is asked for that there is not."""

    def __getattr__(cls, name: str) -> Any:
        members = cls.__dict__.get("_member_map_", {})
        if name in members:  # Python 3.10 finds them here
            return members[name]
        if name.startswith("_"):
            raise AttributeError(name)
        close = get_close_matches(name.upper(), members, 1)
        hint = f"did you mean {close[0]}? There are" if close else "there are"
        if name == "PREBUILT":
            hint = "deploy the model itself, as HUGGINGFACE_PIPELINE for example. There are"
        raise AttributeError(f"no model type {name}: {hint} {', '.join(members)}")


class ModelType(str, Enum, metaclass=_Members):
    """What kind of model a stage holds.

    See `docs/reference/model-types.md` for what each accepts and returns.
    """

    TORCH = "torch"
    XGBOOST_CLASSIFIER = "xgboost_classifier"
    XGBOOST_REGRESSOR = "xgboost_regressor"
    SKLEARN = "sklearn"
    SKLEARN_CLASSIFIER = "sklearn_classifier"
    SKLEARN_PREPROCESSOR = "sklearn_preprocessor"
    SKOPS = "skops"
    LIGHTGBM = "lightgbm"
    CATBOOST = "catboost"
    ONNX = "onnx"
    KERAS = "keras"
    SAFETENSORS = "safetensors"
    TENSORFLOW = "tensorflow"
    SPACY = "spacy"
    HUGGINGFACE_PIPELINE = "hf_pipeline"
    MLFLOW = "mlflow"
    PYTHON = "python"


@dataclass(frozen=True)
class Artifact:
    """What the source of a model type is.

    Attributes:
        suffixes: Suffixes a file may have, in lower case with their dot; empty for any.
        is_folder: Whether the source is a folder, not a file.
        live: Top-level package of the classes of which an object may stand in place of a path;
            empty where none may.
        is_built: Whether a file may hold weights only, for what the stage's `model` makes.
    """

    suffixes: tuple[str, ...] = ()
    is_folder: bool = False
    live: str = ""
    is_built: bool = False

    def takes_object(self, given: object) -> bool:
        """Whether `given` may stand in place of a path: an object of the type's own library."""
        homes = {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
        return bool(self.live) and (self.live == ANY_OBJECT or self.live in homes)


#: `Artifact.live` of types that judge their objects themselves.
ANY_OBJECT = "*"


@dataclass(frozen=True)
class PluginType:
    """A model type that an installed package adds.

    The package makes one, tells its users to write it where they would write
    `model_type.SKLEARN`, and names its loader in the entry point group `penstock.loaders`.

    Attributes:
        value: The entry point's name: lower-case letters, digits and underscores.
        suffixes: Suffixes of its files; empty for any.
        is_folder: Whether a model is a folder, not a file.

    Raises:
        ValueError: The value is no such name, or is that of a built-in type.
    """

    value: str
    suffixes: tuple[str, ...] = ()
    is_folder: bool = False

    def __post_init__(self) -> None:
        if not is_type_name(self.value):
            raise ValueError(f"{self.value!r} is not a name of a model type: use a_z, 0-9 and _.")
        if self.value in _BUILT_IN:
            raise ValueError(f"{self.value!r} is a built-in model type.")

    @property
    def name(self) -> str:
        """How messages and listings call it."""
        return self.value.upper()


AnyType = ModelType | PluginType

_BUILT_IN = frozenset(kind.value for kind in ModelType)

_PICKLE = (".pkl", ".joblib")
_SKLEARN = (*_PICKLE, ".skops")

#: What each built-in type loads.
ARTIFACTS: dict[ModelType, Artifact] = {
    ModelType.TORCH: Artifact(live="torch", is_built=True),
    ModelType.XGBOOST_CLASSIFIER: Artifact((".json", ".ubj", ".pkl"), live="xgboost"),
    ModelType.XGBOOST_REGRESSOR: Artifact((".json", ".ubj", ".pkl"), live="xgboost"),
    ModelType.SKLEARN: Artifact(_SKLEARN, live="sklearn"),
    ModelType.SKLEARN_CLASSIFIER: Artifact(_SKLEARN, live="sklearn"),
    ModelType.SKLEARN_PREPROCESSOR: Artifact(_SKLEARN, live="sklearn"),
    ModelType.SKOPS: Artifact((".skops",), live="sklearn"),
    ModelType.LIGHTGBM: Artifact((".txt", ".lgb", ".model", *_PICKLE), live="lightgbm"),
    ModelType.CATBOOST: Artifact((".cbm", ".json", *_PICKLE), live="catboost"),
    ModelType.ONNX: Artifact((".onnx",), live="onnx"),
    ModelType.KERAS: Artifact((".keras",), live="keras"),
    ModelType.SAFETENSORS: Artifact((".safetensors",), live="torch", is_built=True),
    ModelType.TENSORFLOW: Artifact(is_folder=True),
    ModelType.SPACY: Artifact(is_folder=True, live="spacy"),
    ModelType.HUGGINGFACE_PIPELINE: Artifact(is_folder=True),
    ModelType.MLFLOW: Artifact(is_folder=True),
    ModelType.PYTHON: Artifact(),
}


def is_type_name(text: str) -> bool:
    """Whether `text` may be the value of a model type."""
    return text.isascii() and text.isidentifier() and text == text.lower()


def built_in(value: str) -> ModelType | None:
    """Return the built-in type with this value, or None."""
    return ModelType(value) if value in _BUILT_IN else None


def artifact_of(kind: AnyType) -> Artifact:
    """Return what the source of a model type is."""
    if isinstance(kind, PluginType):
        return Artifact(kind.suffixes, kind.is_folder, live=ANY_OBJECT)
    return ARTIFACTS[kind]
