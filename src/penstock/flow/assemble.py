"""Builds a `LoadedFlow`: modules, functions and models, in the order of the flow.

`assemble` is called in a worker for an uploaded bundle, `assemble_local` on the user's machine for
a flow that was never packed. A failure says which stage and gives the framework's own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from penstock.codec.bundle import Blob, FunctionEntry, Interpreter, Manifest, StageEntry
from penstock.codec.functions import check_interpreter, install_modules, unpack_function
from penstock.codec.model_folders import lay_out
from penstock.core.branches import BranchStage
from penstock.core.errors import BlobMissing, InvalidManifest, LoadFailed
from penstock.core.flow import Flow, Stage
from penstock.core.model_types import AnyType, ModelType, PluginType, built_in, is_type_name
from penstock.core.numbers import InBranch, place
from penstock.core.pipelines import PipelineSource
from penstock.core.signatures import FILES_AT
from penstock.flow.async_function import processing
from penstock.flow.batch import Joiner
from penstock.flow.branching import BranchedStage, LoadedBranch, Shape, origin_after
from penstock.flow.coerce import converter
from penstock.flow.execute import Pair
from penstock.flow.loaded import LoadedFlow
from penstock.flow.mismatch import REQUEST, Origin, Taker
from penstock.flow.pipeline_stage import PipelineStage
from penstock.flow.processing import Processing
from penstock.flow.python_stage import PythonStage
from penstock.flow.setup import Setup
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

#: Functions by role, with the number of their arguments.
Functions = dict[str, tuple[Callable[..., Any], int]]


@dataclass(frozen=True)
class _Part:
    """What a stage is made of, wherever it came from. Functions by role, with their arguments."""

    model_type: AnyType
    model: ModelFile | Callable[..., Any]
    functions: Functions


@dataclass(frozen=True)
class _Parts:
    """What a stage with branches is made of."""

    shape: Shape
    flows: dict[str, list[_Part | _Parts]]
    functions: Functions


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
    reader = _Reader(manifest, blob_paths, scratch)
    parts = reader.parts(manifest.stages, int)
    return _build(parts, threads, max_batch, manifest.pair_files)


def assemble_local(
    flow: Flow, *, threads: int = 1, max_batch: int = 256, pair_files: bool = False
) -> LoadedFlow:
    """Return a flow that was never packed, with the functions as they are.

    Raises:
        LoadFailed: A model does not load; `stage` says which.
    """
    return _build([_local_part(stage) for stage in flow.stages], threads, max_batch, pair_files)


def _local_part(stage: Stage | BranchStage) -> _Part | _Parts:
    functions = {role: (f, stage.arguments(role)) for role, f in stage.functions().items()}
    if isinstance(stage, BranchStage):
        flows = {b.name: [_local_part(inner) for inner in b.stages] for b in stage.branches}
        shape = Shape(stage.kind, stage.ready, stage.by_name, stage.default)
        return _Parts(shape, flows, functions)
    return _Part(stage.model_type, _local_model(stage), functions)


class _Reader:
    """Reads the parts of a bundle: unpickles functions, finds model files."""

    def __init__(
        self, manifest: Manifest, blob_paths: Mapping[str, str | Path], scratch: Path | None
    ) -> None:
        self._manifest = manifest
        self._paths = blob_paths
        self._scratch = scratch

    def parts(
        self, entries: Sequence[StageEntry], number_of: Callable[[int], int]
    ) -> list[_Part | _Parts]:
        return [self._part(number_of(own), entry) for own, entry in enumerate(entries, 1)]

    def _part(self, number: int, entry: StageEntry) -> _Part | _Parts:
        functions = {
            role: (self._function(function, number, role), function.arguments)
            for role, function in entry.functions().items()
        }
        inner = entry.branches
        if inner is not None:
            flows = {
                branch.name: self.parts(branch.stages, partial(InBranch, number, branch.name))
                for branch in inner.flows
            }
            shape = Shape(entry.model_type, inner.ready, inner.by_name, inner.default)
            return _Parts(shape, flows, functions)
        model: ModelFile | Callable[..., Any]
        made, _ = functions.pop("model", (None, 0))
        if made is not None and entry.is_function:
            model = made
        else:
            model = replace(_model_file(entry, self._paths, number, self._scratch), build=made)
        return _Part(_model_type(entry.model_type, number), model, functions)

    def _function(self, entry: FunctionEntry, stage: int, role: str) -> Callable[..., Any]:
        return _unpack(self._manifest, entry, self._paths, stage, role)


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


def _build(
    parts: list[_Part | _Parts], threads: int, max_batch: int, pair_files: bool
) -> LoadedFlow:
    builder = _Builder(parts, threads, max_batch)
    pairs = builder.pairs(parts, int, REQUEST)
    wanted = ((role, n) for _, role, n in builder.counts)
    return LoadedFlow(
        pairs,
        uses_files=any(FILES_AT.get(role) == n for role, n in wanted),
        setups=builder.setups,
        pair_files=pair_files,
    )


class _Builder:
    """Makes the loaded stages of a flow, those of branches included."""

    def __init__(self, parts: list[_Part | _Parts], threads: int, max_batch: int) -> None:
        self._threads = threads
        self._max_batch = max_batch
        self.setups: list[Setup] = []
        self.counts = list(_counts(parts, int))
        readers = [
            (place(number), role)
            for number, role, arguments in self.counts
            if (place(number) == "1" and role == "pre")
            or (role in {"post", "combine"} and arguments >= 2)
        ]
        # Everyone but the last who sees the request's data gets a copy of it. In which order those
        # in branches see it is not known.
        branched = any(isinstance(part, _Parts) for part in parts)
        self._copied = readers if branched else readers[:-1]

    def pairs(
        self, parts: Sequence[_Part | _Parts], number_of: Callable[[int], int], origin: Origin
    ) -> list[Pair]:
        """Return the stages of a flow or branch, each with what joins its calls."""
        made: list[Pair] = []
        for own, part in enumerate(parts, 1):
            number = number_of(own)
            after = parts[own] if own < len(parts) else None
            functions = self._processing(number, part)
            pre, post = functions.get("pre"), functions.get("post")
            if pre is not None:
                origin = Origin(pre.label, number, "pre")
            if isinstance(part, _Parts):
                stage = self._branched(number, part, functions, origin)
                made.append((stage, stage))
                origin = origin_after(stage)
            else:
                loaded = self._stage(number, part, functions, origin, after)
                made.append((loaded, Joiner(loaded, self._max_batch)))
                origin = Origin(f"the model of stage {number}", number)
            if post is not None:
                origin = Origin(post.label, number, "post")
        return made

    def _processing(self, number: int, part: _Part | _Parts) -> dict[str, Processing]:
        functions = dict(part.functions)
        setup = functions.pop("setup", None)
        if setup is not None:
            self.setups.append(Setup(number, setup[0]))
        one_text = isinstance(part, _Part) and part.model_type is ModelType.SPACY
        return {
            role: processing(
                for_one_text(f) if one_text and role == "post" else f,
                role,
                number,
                arguments,
                (place(number), role) in self._copied,
            )
            for role, (f, arguments) in functions.items()
        }

    def _branched(
        self, number: int, part: _Parts, functions: dict[str, Processing], origin: Origin
    ) -> BranchedStage:
        branches = [
            LoadedBranch(name, self.pairs(inner, partial(InBranch, number, name), origin))
            for name, inner in part.flows.items()
        ]
        return BranchedStage(number, part.shape, branches, functions)

    def _stage(
        self,
        number: int,
        part: _Part,
        functions: dict[str, Processing],
        origin: Origin,
        follower: _Part | _Parts | None,
    ) -> LoadedStage:
        taker = Taker(number, part.model_type.name, origin)
        model = _load(part, number, self._threads)
        kind = _KINDS.get(part.model_type, LoadedStage)
        return kind(
            part.model_type,
            model,
            converter(model, taker),
            taker,
            functions.get("pre"),
            functions.get("post"),
            is_last=not isinstance(follower, _Part),
            hands_on="post" not in functions and _takes_as_it_is(follower),
        )


def _takes_as_it_is(follower: _Part | _Parts | None) -> bool:
    """Whether a model that is no code of the user's comes next, with no function before it."""
    if not isinstance(follower, _Part) or "pre" in follower.functions:
        return False
    return follower.model_type is not ModelType.PYTHON


def _counts(
    parts: Sequence[_Part | _Parts], number_of: Callable[[int], int]
) -> Iterator[tuple[int, str, int]]:
    """Yield stage number, role and number of arguments of every function."""
    for own, part in enumerate(parts, 1):
        number = number_of(own)
        for role, (_, arguments) in part.functions.items():
            yield number, role, arguments
        for name, inner in part.flows.items() if isinstance(part, _Parts) else ():
            yield from _counts(inner, partial(InBranch, number, name))


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
