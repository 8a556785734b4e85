"""What stands for the model in a stage: a path, an object, a function, or a pipeline's arguments.

Called by `penstock.core.flow` for each stage. Nothing is opened; files only have to be there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from penstock.core.errors import InvalidStage, MissingModelFile
from penstock.core.model_types import AnyType, ModelType, artifact_of
from penstock.core.pipelines import parse_pipeline
from penstock.core.signatures import check_python_model


def parse_model(number: int, kind: AnyType, given: object) -> Any:
    """Return what the model of stage `number` (from 1) is, checked: a path, an object, arguments.

    Raises:
        InvalidStage: It is of the wrong kind.
        InvalidSignature: A function or class cannot be called with one value.
        MissingModelFile: There is no such file or folder.
    """
    if kind is ModelType.HUGGINGFACE_PIPELINE:
        return parse_pipeline(number, given)
    if kind is not ModelType.PYTHON:
        return _parse_source(number, kind, given)
    if not callable(given):
        raise InvalidStage(
            f"Stage {number} (PYTHON): the model is {described(given)}; give a function, or a "
            "class with a predict(self, value) method.",
            stage=number,
            hint="Give the object's method." if hasattr(given, "predict") else None,
        )
    check_python_model(number, given)
    return given


def _parse_source(number: int, kind: AnyType, given: object) -> Any:
    if not isinstance(given, (str, os.PathLike)):
        artifact = artifact_of(kind)
        if given is not None and artifact.takes_object(given):
            return given
        own = f", or a model of {artifact.live}" if artifact.live else ""
        raise InvalidStage(
            f"Stage {number} ({kind.name}): the model is {described(given)}; give the path of its "
            f"{_noun(kind)} as str or Path{own}.",
            stage=number,
        )
    text = os.fspath(given)
    if not isinstance(text, str) or not text.strip():
        raise MissingModelFile(
            f"Stage {number} ({kind.name}) has an empty path: the model {_noun(kind)} is missing.",
            stage=number,
            hint=f"Give the path of the model {_noun(kind)}, {_suffix_text(kind)}.",
        )
    path = Path(text).expanduser()
    if not path.exists():
        raise MissingModelFile(
            f"Stage {number} ({kind.name}): there is no {_noun(kind)} {text!r} (looked in "
            f"{Path.cwd()}).",
            stage=number,
            hint=_elsewhere(kind, text),
        )
    _check_file(number, kind, path)
    return path


def _check_file(number: int, kind: AnyType, path: Path) -> None:
    artifact = artifact_of(kind)
    if path.is_dir() is not artifact.is_folder or not (path.is_file() or path.is_dir()):
        raise MissingModelFile(
            f"Stage {number} ({kind.name}): {str(path)!r} is not a {_noun(kind)}.", stage=number
        )
    if artifact.suffixes and path.suffix.lower() not in artifact.suffixes:
        raise MissingModelFile(
            f"Stage {number} ({kind.name}): {path.name!r} does not end in {_suffix_text(kind)}.",
            stage=number,
            hint=_other_types(path.suffix.lower()),
        )


def _elsewhere(kind: AnyType, text: str) -> str | None:
    """Return what to do about a name that other libraries take, and that is no path."""
    if ":/" in text:
        return "Only files of this machine are taken: download it, and give the path."
    if kind is ModelType.SPACY and text.isidentifier():
        return f'Give the pipeline itself: (model_type.SPACY, spacy.load("{text}")).'
    return None


def _other_types(suffix: str) -> str | None:
    """Return which types take files of a suffix; None where there is none."""
    found = [kind.name for kind in ModelType if suffix in artifact_of(kind).suffixes]
    return f"For {suffix} files there is {' or '.join(found)}." if found else None


def _noun(kind: AnyType) -> str:
    return "folder" if artifact_of(kind).is_folder else "file"


def _suffix_text(kind: AnyType) -> str:
    example = "for example models/churn" if artifact_of(kind).is_folder else "for example model.pt"
    return " or ".join(artifact_of(kind).suffixes) or example


def described(value: object) -> str:
    """Return the type and the text of a value that somebody gave, cut to what a line holds."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
