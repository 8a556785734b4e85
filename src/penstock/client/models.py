"""Reads the models of a flow before they are sent: their hashes, and what loading them needs.

A model is a file or a folder of files. A file is read in pieces and never loaded as a model.
Called by `penstock.client.preflight`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.codec.bundle import Blob, FolderFile
from penstock.codec.functions import make_blob
from penstock.codec.model_code import code_in_file, code_in_folder
from penstock.codec.model_folders import files_of, listing_digest
from penstock.codec.pickles import PickleFacts, pickle_facts
from penstock.core.errors import MissingImports, MissingModelFile
from penstock.core.flow import Stage
from penstock.core.model_types import ModelType
from penstock.core.pipelines import ARGUMENTS_FILE, PipelineSource

_PIECE = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A stage's model: a file, or a folder.

    Attributes:
        path: The file or folder.
        blob: What the bundle calls it.
        facts: What its pickles refer to; None when there is no pickle in it.
        files: The files of a folder; empty for a file.
        sources: The bytes of each blob, or where they are, by SHA-256.
        code: Why loading it can run code; empty if it cannot.
    """

    path: Path
    blob: Blob
    facts: PickleFacts | None
    files: list[FolderFile]
    sources: Mapping[str, bytes | Path]
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
    source = stage.source
    if not isinstance(source, (Path, PipelineSource)):
        return None
    try:
        model = _read(stage, source)
    except OSError as error:
        raise MissingModelFile(
            f"Stage {number} ({stage.model_type.name}): {str(error.filename or source)!r} cannot "
            f"be read: {error.strerror}.",
            stage=number,
        ) from None
    except MissingModelFile as error:
        error.stage = number
        error.message = f"Stage {number} ({stage.model_type.name}): {error.message}"
        error.args = (error.message,)
        raise
    if model.facts is not None:
        _refuse_script_classes(number, model.path, model.facts)
    return model


def _read(stage: Stage, source: Path | PipelineSource) -> ModelFile:
    if isinstance(source, PipelineSource):
        return _read_pipeline(source)
    return _read_folder(stage, source) if source.is_dir() else _read_file(stage, source)


def _read_file(stage: Stage, path: Path) -> ModelFile:
    blob = hash_file(path)
    code = code_in_file(stage.model_type.value, path.name, path, stage.build is not None)
    # Weights that are read as numbers only refer to nothing that loading would import.
    facts = pickle_facts(path) if code else None
    return ModelFile(path, blob, facts, [], {blob.sha256: path}, code)


def _read_folder(stage: Stage, folder: Path) -> ModelFile:
    found = files_of(folder)
    code = code_in_folder(stage.model_type.value, found.items())
    return _read_files(folder.name or folder.resolve().name, folder, found, code)


def _read_pipeline(source: PipelineSource) -> ModelFile:
    """Read a pipeline as the folder it is in a bundle; see `penstock.core.pipelines`."""
    found = {
        f"{argument}/{relative}": path
        for argument, folder in source.folders.items()
        for relative, path in files_of(folder).items()
    }
    code = source.code or code_in_folder(ModelType.HUGGINGFACE_PIPELINE.value, found.items())
    return _read_files(source.title, Path(source.title), found, code, source.to_json())


def _read_files(
    name: str, folder: Path, found: Mapping[str, Path], code: str, arguments: bytes | None = None
) -> ModelFile:
    files = [FolderFile(relative, hash_file(path)) for relative, path in found.items()]
    sources: dict[str, bytes | Path] = {file.blob.sha256: found[file.path] for file in files}
    if arguments is not None:
        files.append(FolderFile(ARGUMENTS_FILE, make_blob(ARGUMENTS_FILE, arguments)))
        sources[files[-1].blob.sha256] = arguments
    digest = listing_digest((file.path, file.blob.sha256) for file in files)
    blob = Blob(name, digest, sum(file.blob.size for file in files))
    pickles = [facts for path in found.values() if (facts := pickle_facts(path)) is not None]
    merged = PickleFacts(
        frozenset(pair for facts in pickles for pair in facts.names),
        all(facts.complete for facts in pickles),
    )
    return ModelFile(folder, blob, merged if pickles else None, files, sources, code)


def hash_file(path: Path) -> Blob:
    """Return the manifest's description of the file at `path`. Raises `OSError`."""
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
