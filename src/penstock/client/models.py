"""Reads the models of a flow before they are sent: their hashes, and what loading them needs.

A model is a file or a folder of files. A file is read in pieces and never loaded as a model.
Called by `penstock.client.preflight`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from penstock.codec.bundle import Blob, FolderFile
from penstock.codec.model_code import code_in_file, code_in_folder
from penstock.codec.model_folders import files_of, listing_digest
from penstock.codec.pickles import PickleFacts, pickle_facts
from penstock.core.errors import MissingImports, MissingModelFile
from penstock.core.flow import Stage

_PIECE = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A stage's model: a file, or a folder.

    Attributes:
        path: The file or folder.
        blob: What the bundle calls it.
        facts: What its pickles refer to; None when there is no pickle in it.
        files: The files of a folder; empty for a file.
        sources: Where the bytes of each blob are, by SHA-256.
        code: Why loading it can run code; empty if it cannot.
    """

    path: Path
    blob: Blob
    facts: PickleFacts | None
    files: list[FolderFile]
    sources: dict[str, Path]
    code: str

    @property
    def carries_code(self) -> bool:
        """Whether only the same Python version can load it."""
        return self.facts is not None and self.facts.carries_code


def read_model(number: int, stage: Stage) -> ModelFile | None:
    """Return what there is to know about the model of stage `number` (from 1).

    None for a `PYTHON` stage, which has no file.

    Raises:
        MissingModelFile: A file cannot be read, or a folder cannot travel.
        MissingImports: It refers to classes of the script that saved it.
    """
    path = stage.file
    if path is None:
        return None
    try:
        model = _read_folder(stage, path) if path.is_dir() else _read_file(stage, path)
    except OSError as error:
        raise MissingModelFile(
            f"Stage {number} ({stage.model_type.name}): {str(error.filename or path)!r} cannot be "
            f"read: {error.strerror}.",
            stage=number,
        ) from None
    except MissingModelFile as error:
        error.stage = number
        error.message = f"Stage {number} ({stage.model_type.name}): {error.message}"
        error.args = (error.message,)
        raise
    if model.facts is not None:
        _refuse_script_classes(number, path, model.facts)
    return model


def _read_file(stage: Stage, path: Path) -> ModelFile:
    blob = _hash(path)
    code = code_in_file(stage.model_type.value, path.name, path, stage.build is not None)
    # Weights that are read as numbers only refer to nothing that loading would import.
    facts = pickle_facts(path) if code else None
    return ModelFile(path, blob, facts, [], {blob.sha256: path}, code)


def _read_folder(stage: Stage, folder: Path) -> ModelFile:
    found = files_of(folder)
    files = [FolderFile(relative, _hash(path)) for relative, path in found.items()]
    sources = {file.blob.sha256: found[file.path] for file in files}
    digest = listing_digest((file.path, file.blob.sha256) for file in files)
    name = folder.name or folder.resolve().name
    blob = Blob(name, digest, sum(file.blob.size for file in files))
    pickles = [facts for path in found.values() if (facts := pickle_facts(path)) is not None]
    merged = PickleFacts(
        frozenset(pair for facts in pickles for pair in facts.names),
        all(facts.complete for facts in pickles),
    )
    code = code_in_folder(stage.model_type.value, found.items())
    return ModelFile(folder, blob, merged if pickles else None, files, sources, code)


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
