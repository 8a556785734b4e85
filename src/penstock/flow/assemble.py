"""Builds a `LoadedFlow`: modules, functions and models, in the order of the flow.

`assemble` is called in a worker for an uploaded bundle, `assemble_local` on the user's machine for
a flow that was never packed. A failure says which stage and gives the framework's own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.codec.bundle import Blob, FunctionEntry, Interpreter, Manifest, StageEntry
from penstock.codec.functions import check_interpreter, install_modules, unpack_function
from penstock.codec.model_folders import lay_out
from penstock.core.errors import BlobMissing, InvalidManifest, LoadFailed
from penstock.core.flow import Flow, Stage
from penstock.core.model_types import AnyType, ModelType, PluginType, built_in, is_type_name
from penstock.core.pipelines import PipelineSource
from penstock.flow.async_function import processing
from penstock.flow.coerce import converter
from penstock.flow.loaded import LoadedFlow
from penstock.flow.mismatch import REQUEST, Origin, Taker
from penstock.flow.pipeline_stage import PipelineStage
from penstock.flow.python_stage import PythonStage
from penstock.flow.sources import show_lines
from penstock.flow.stage import LoadedStage
from penstock.flow.texts import for_one_text
from penstock.loaders.base import Model, ModelFile
from penstock.loaders.python import hold
from penstock.loaders.registry import load_model
from penstock.loaders.transformers import PipelineFile

#: Stages that are called in a way of their own.
_KINDS: dict[AnyType, type[LoadedStage]] = {
    ModelType.PYTHON: PythonStage,
    ModelType.HUGGINGFACE_PIPELINE: PipelineStage,
}


@dataclass(frozen=True)
class _Part:
    """What a stage is made of, wherever it came from. Functions by role, with their arguments."""

    model_type: AnyType
    model: ModelFile | Callable[..., Any]
    functions: dict[str, tuple[Callable[..., Any], int]]


def assemble(
    manifest: Manifest,
    blob_paths: Mapping[str, str | Path],
    *,
    threads: int,
    max_batch: int,
    scratch: Path | None = None,
) -> LoadedFlow:
    """Return the flow of an uploaded bundle. Runs the user's code; workers only.

    Args:
        manifest: The bundle's manifest.
        blob_paths: Path of each blob by SHA-256.
        threads: Threads a model call may use.
        max_batch: Most rows of one joined model call; 1 turns joining off.
        scratch: Folder for `modules`, the bundle's local modules, and `models`, models that are
            folders; by default a fresh temporary folder.

    Raises:
        LoadFailed: A function or model does not load; `stage` and `function` say which.
        InterpreterMismatch, MissingImports: The functions cannot run here.
    """
    if manifest.has_functions():
        check_interpreter(manifest.interpreter, Interpreter.current())
    if manifest.modules:
        folder = scratch or _temporary()
        install_modules(manifest, blob_paths, folder / "modules")
    parts = []
    for number, entry in enumerate(manifest.stages, 1):
        functions: dict[str, tuple[Callable[..., Any], int]] = {}
        for role, function in (("pre", entry.pre), ("post", entry.post)):
            if function is not None:
                loaded = _unpack(manifest, function, blob_paths, number, role)
                functions[role] = (loaded, function.arguments)
        model: ModelFile | Callable[..., Any]
        own = entry.function
        made: Callable[..., Any] | None = None
        if own is not None:
            made = _unpack(manifest, own, blob_paths, number, "model")
        if made is not None and entry.is_function:
            model = made
        else:
            model = replace(_model_file(entry, blob_paths, number, scratch), build=made)
        parts.append(_Part(_model_type(entry.model_type, number), model, functions))
    return _build(parts, threads, max_batch)


def assemble_local(flow: Flow, *, threads: int = 1, max_batch: int = 256) -> LoadedFlow:
    """Return a flow that was never packed, with the functions as they are.

    Raises:
        LoadFailed: A model does not load; `stage` says which.
    """
    parts = [
        _Part(
            stage.model_type,
            _local_model(stage),
            {
                role: (f, stage.pre_arguments if role == "pre" else stage.post_arguments)
                for role, f in stage.functions().items()
            },
        )
        for stage in flow.stages
    ]
    return _build(parts, threads, max_batch)


def _local_model(stage: Stage) -> Any:
    if isinstance(stage.source, Path):
        return ModelFile(stage.source, stage.title, stage.build)
    if isinstance(stage.source, PipelineSource):
        return PipelineFile(Path(), stage.title, source=stage.source)
    return stage.source


def _unpack(
    manifest: Manifest,
    entry: FunctionEntry,
    blob_paths: Mapping[str, str | Path],
    stage: int,
    role: str,
) -> Callable[..., Any]:
    raw = _blob(blob_paths, entry.pickle, stage).read_bytes()
    function = unpack_function(raw, entry, manifest.interpreter, stage=stage, role=role)
    if entry.source is not None and entry.source.sha256 in blob_paths:
        show_lines(function, _blob(blob_paths, entry.source, stage).read_text("utf-8"))
    return function


def _model_file(
    entry: StageEntry, blob_paths: Mapping[str, str | Path], stage: int, scratch: Path | None
) -> ModelFile:
    name = Path(entry.model.name).name
    if not entry.files:
        return ModelFile(_blob(blob_paths, entry.model, stage), name)
    files = {file.path: _blob(blob_paths, file.blob, stage) for file in entry.files}
    return ModelFile(lay_out(files, (scratch or _temporary()) / "models", name), name)


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="penstock-bundle-"))


def _blob(blob_paths: Mapping[str, str | Path], blob: Blob, stage: int) -> Path:
    path = blob_paths.get(blob.sha256)
    if path is None:
        raise BlobMissing(f"{blob.name} of stage {stage} was not uploaded.", stage=stage)
    return Path(path)


def _model_type(text: str, stage: int) -> AnyType:
    kind = built_in(text) or (PluginType(text) if is_type_name(text) else None)
    if kind is None:
        raise InvalidManifest(f"Stage {stage} has the model type {text!r}.", stage=stage)
    return kind


def _build(parts: list[_Part], threads: int, max_batch: int) -> LoadedFlow:
    readers = [
        (number, role)
        for number, part in enumerate(parts, 1)
        for role, (_, arguments) in part.functions.items()
        if (number == 1 and role == "pre") or (role == "post" and arguments >= 2)
    ]
    stages: list[LoadedStage] = []
    origin = REQUEST
    for number, part in enumerate(parts, 1):
        # Everyone but the last who sees the request's data gets a copy of it.
        functions = {
            role: processing(
                for_one_text(f) if part.model_type is ModelType.SPACY and role == "post" else f,
                role,
                number,
                arguments,
                (number, role) in readers[:-1],
            )
            for role, (f, arguments) in part.functions.items()
        }
        pre, post = functions.get("pre"), functions.get("post")
        if pre is not None:
            origin = Origin(pre.label, number, "pre")
        taker = Taker(number, part.model_type.name, origin)
        model = _load(part, number, threads)
        kind = _KINDS.get(part.model_type, LoadedStage)
        stages.append(
            kind(
                part.model_type,
                model,
                converter(model, taker),
                taker,
                pre,
                post,
                is_last=number == len(parts),
            )
        )
        origin = Origin(f"the model of stage {number}", number)
        if post is not None:
            origin = Origin(post.label, number, "post")
    return LoadedFlow(stages, uses_files=_uses_files(parts), max_batch=max_batch)


def _load(part: _Part, stage: int, threads: int) -> Model:
    try:
        if isinstance(part.model, ModelFile):
            return load_model(part.model, part.model_type, threads)
        return hold(part.model)
    except LoadFailed as error:
        error.stage = stage
        error.message = f"Stage {stage} ({part.model_type.name}): {error.message}"
        error.args = (error.message,)
        raise


def _uses_files(parts: list[_Part]) -> bool:
    wanted = {"pre": 2, "post": 3}
    return any(
        arguments == wanted[role]
        for part in parts
        for role, (_, arguments) in part.functions.items()
    )
