"""Reads the model files of a flow before they are sent: their hash, and what loading them needs.

A file is read in pieces and never loaded as a model. Called by `penstock.client.preflight`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from penstock.codec.bundle import Blob
from penstock.codec.pickles import PickleFacts, pickle_facts
from penstock.core.errors import MissingImports, MissingModelFile
from penstock.core.flow import Stage

_PIECE = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A stage's model file. `facts` is None when it is no pickle."""

    path: Path
    blob: Blob
    facts: PickleFacts | None

    @property
    def carries_code(self) -> bool:
        """Whether only the same Python version can load it."""
        return self.facts is not None and self.facts.carries_code


def read_model(number: int, stage: Stage) -> ModelFile | None:
    """Return what there is to know about the model file of stage `number` (from 1).

    None for a `PYTHON` stage, which has no file.

    Raises:
        MissingModelFile: The file cannot be read.
        MissingImports: It refers to classes of the script that saved it.
    """
    path = stage.file
    if path is None:
        return None
    try:
        blob = _hash(path)
        facts = pickle_facts(path)
    except OSError as error:
        raise MissingModelFile(
            f"Stage {number} ({stage.model_type.name}): {str(path)!r} cannot be read: "
            f"{error.strerror}.",
            stage=number,
        ) from None
    if facts is not None:
        _refuse_script_classes(number, path, facts)
    return ModelFile(path, blob, facts)


def _hash(path: Path) -> Blob:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return Blob(path.name, digest.hexdigest(), size)


def _refuse_script_classes(number: int, path: Path, facts: PickleFacts) -> None:
    names = sorted(name for module, name in facts.names if module == "__main__")
    if names:
        raise MissingImports(
            f"The model of stage {number} ({path.name}) refers to `{names[0]}` of the script or "
            "notebook that saved it, which the server cannot import.",
            stage=number,
            hint=f"Save the model with cloudpickle, or move `{names[0]}` to a module of its own, "
            "import it from there and save the model again.",
        )
