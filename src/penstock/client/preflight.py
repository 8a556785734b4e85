"""Turns a flow into a bundle, and finds before anything is sent what would fail on the server.

No network here. Called by `penstock.client.api` and `penstock.client.conduit`, which send what
`prepare` returns.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from penstock.client import advice
from penstock.client.models import ModelFile, read_model
from penstock.client.needs import Asked, asked, check_type, own_python
from penstock.codec.bundle import (
    BranchEntry,
    BranchesEntry,
    Example,
    FunctionEntry,
    Imported,
    Interpreter,
    Manifest,
    ModuleSource,
    StageEntry,
)
from penstock.codec.functions import make_blob, pack_function
from penstock.codec.model_code import runs_code
from penstock.codec.request import encode_request
from penstock.core.branches import BranchStage
from penstock.core.flow import Flow, Stage
from penstock.core.numbers import InBranch, place
from penstock.core.pipelines import PipelineSource
from penstock.environments.check import Need, as_saved, check, version_warnings
from penstock.environments.describe import EnvironmentInfo
from penstock.environments.imports import Library, Scanner

#: The content of a blob: bytes, or the file that holds it.
Source = bytes | Path


@dataclass
class Prepared:
    """A bundle ready to send.

    Attributes:
        manifest: What the bundle holds.
        blobs: Contents by SHA-256; model files as paths, everything else as bytes.
        warnings: Sentences for the user; nothing in them stops the deploy.
        captured: A line per function: what it takes along and what it uses.
        secrets: Names that the functions give to `get_secret`.
    """

    manifest: Manifest
    blobs: dict[str, Source] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    captured: list[str] = field(default_factory=list)
    secrets: tuple[str, ...] = ()


def prepare(
    flow: Flow,
    requirements: Sequence[str] | Asked = (),
    example: Any = None,
    example_files: Sequence[Any] = (),
    environment: EnvironmentInfo | None = None,
    pair_files: bool = False,
) -> Prepared:
    """Return the bundle of `flow`.

    Args:
        flow: The checked flow.
        requirements: What the version's environment shall hold; none: the server's environment.
        example: Data of the request a version must answer before it becomes active.
        example_files: Files of that request.
        environment: What the server has; None skips the checks against it.
        pair_files: Whether a request's files and data points must be equal in number.

    Raises:
        InvalidRequirement: A requirement cannot be taken.
        InterpreterMismatch: The server has no Python for the bytecode that the flow carries.
        UndefinedName: A function uses a name that nothing defines.
        MissingImports: A function or a pickled model needs a library the server does not have.
        CaptureTooLarge: A function takes along more than 32 MiB.
        CaptureNotPicklable: A function uses a value that cannot travel.
        MissingModelFile: A model file cannot be read.
        MalformedBody: The example has no JSON form.
    """
    wish = requirements if isinstance(requirements, Asked) else asked(requirements)
    made = _Preflight(flow, environment, wish).run(example, example_files)
    made.manifest = msgspec.structs.replace(made.manifest, pair_files=pair_files)
    return made


class _Preflight:
    """One bundle in the making."""

    def __init__(self, flow: Flow, environment: EnvironmentInfo | None, wish: Asked) -> None:
        self._flow = flow
        self._wish = wish
        self._own: Interpreter | None = None
        self._environment = environment
        self._scanner = Scanner()
        self._needs: list[Need] = []
        self._model_needs: list[Need] = []
        self._blobs: dict[str, Source] = {}
        self._warnings: list[str] = []
        self._captured: list[str] = []
        self._secrets: dict[str, None] = {}

    def run(self, example: Any, example_files: Sequence[Any]) -> Prepared:
        models = {place(n): read_model(n, stage) for n, stage in self._flow.models()}
        self._check_policy(models)
        if self._environment is not None:
            self._own = own_python(self._flow, models, self._wish, self._environment)
        self._blobs.update({blob.sha256: path for path, blob in self._wish.wheels.items()})
        stages = self._stages(self._flow.stages, models, int)
        manifest = Manifest(
            interpreter=Interpreter.current(),
            stages=stages,
            penstock=_version("penstock"),
            cloudpickle=_version("cloudpickle"),
            modules=self._modules(),
            requirements=self._wish.requirements,
            python=self._own.minor if self._own is not None else self._wish.python,
            wheels=list(self._wish.wheels.values()),
            packages=self._packages(),
            example=self._example(example, example_files),
        )
        self._check_environment(manifest)
        warnings = [*self._scanner.warnings, *self._warnings]
        warnings = list(dict.fromkeys(warnings))
        return Prepared(manifest, self._blobs, warnings, self._captured, tuple(self._secrets))

    def _check_policy(self, models: Mapping[str, ModelFile | None]) -> None:
        """Refuse here what the server would refuse after the upload."""
        info = self._environment
        if info is None:
            return
        for number, stage in self._flow.models():
            model = models[place(number)]
            if model is not None and model.code and info.models_with_code == "refuse":
                raise runs_code(number, stage.title, model.code)
            if not self._wish.requirements:
                check_type(number, stage.model_type, info)

    def _stages(
        self,
        stages: Sequence[Stage | BranchStage],
        models: Mapping[str, ModelFile | None],
        number_of: Callable[[int], int],
    ) -> list[StageEntry]:
        made = []
        for own, stage in enumerate(stages, 1):
            number = number_of(own)
            if isinstance(stage, BranchStage):
                made.append(self._branches(number, stage, models))
            else:
                made.append(self._stage(number, stage, models[place(number)]))
        return made

    def _branches(
        self, number: int, stage: BranchStage, models: Mapping[str, ModelFile | None]
    ) -> StageEntry:
        functions: dict[str, Any] = dict(self._functions(number, stage))
        inner = {role: functions.pop(role, None) for role in ("choose", "combine")}
        flows = [
            BranchEntry(
                branch.name,
                self._stages(branch.stages, models, partial(InBranch, number, branch.name)),
            )
            for branch in stage.branches
        ]
        entry = BranchesEntry(flows, stage.ready, stage.by_name, stage.default, **inner)
        digest = make_blob(stage.title, msgspec.json.encode(entry))
        size = sum(each.model.size for branch in flows for each in branch.stages)
        model = msgspec.structs.replace(digest, size=size)
        return StageEntry(stage.kind, model, **functions, branches=entry)

    def _stage(self, number: int, stage: Stage, model: ModelFile | None) -> StageEntry:
        kind = stage.model_type.value
        functions: dict[str, Any] = dict(self._functions(number, stage))
        if model is None:
            own = self._function(number, "model", stage, stage.source)
            return StageEntry(kind, own.pickle, **functions, function=own)
        self._blobs.update(model.sources)
        packages: dict[str, str] = {}
        if isinstance(stage.source, PipelineSource):
            self._warnings += advice.of_hub(number, stage.source)
        if model.facts is not None:
            libraries = self._scanner.resolve(model.facts.modules)
            needs = [as_saved(n, model.facts.saved_by) for n in _needs(number, None, libraries)]
            self._model_needs += needs
            packages = {n.distribution: n.version for n in needs if n.distribution and n.version}
        build = stage.build and self._function(number, "model", stage, stage.build)
        return StageEntry(
            kind,
            model.blob,
            **functions,
            function=build,
            files=model.files,
            runs_code=bool(model.code),
            packages=packages,
        )

    def _functions(self, number: int, stage: Stage | BranchStage) -> dict[str, FunctionEntry]:
        return {
            role: self._function(number, role, stage, function)
            for role, function in stage.functions().items()
        }

    def _function(
        self, number: int, role: str, stage: Stage | BranchStage, function: Callable[..., Any]
    ) -> FunctionEntry:
        scan = self._scanner.scan(function, stage=number, role=role)
        packed = pack_function(
            function,
            stage=number,
            role=role,
            arguments=stage.arguments(role),
            values=[(value.name, value.value) for value in scan.values],
            by_value=self._scanner.by_value,
        )
        self._blobs.update(packed.blobs)
        libraries = sorted(
            {*scan.libraries, *self._scanner.resolve(packed.modules)}, key=lambda lib: lib.module
        )
        self._needs += _needs(number, role, libraries)
        self._warnings += advice.of_function(number, role, stage, function, packed)
        self._warnings += advice.of_secrets(number, role, scan.secrets)
        self._secrets.update((name, None) for name in scan.secrets if name is not None)
        entry = msgspec.structs.replace(
            packed.entry,
            imports=[Imported(lib.module, lib.distribution, lib.version) for lib in libraries],
            uses=sorted({*scan.modules, *self._scanner.dotted(packed.modules)}),
        )
        self._captured.append(advice.summary(number, role, entry, scan.local))
        return entry

    def _modules(self) -> list[ModuleSource]:
        found: list[ModuleSource] = []
        for relative, path in self._scanner.sources().items():
            content = path.read_bytes()
            blob = make_blob(relative, content)
            self._blobs[blob.sha256] = content
            found.append(ModuleSource(relative, blob))
        return found

    def _packages(self) -> dict[str, str]:
        needs = [*self._needs, *self._model_needs]
        return {n.distribution: n.version for n in needs if n.distribution and n.version}

    def _example(self, example: Any, files: Sequence[Any]) -> Example | None:
        if example is None and not files:
            return None
        encoded = encode_request(example, files=list(files) or None)
        content = encoded.to_bytes()
        blob = make_blob("example", content)
        self._blobs[blob.sha256] = content
        return Example(encoded.media_type, blob)

    def _check_environment(self, manifest: Manifest) -> None:
        if self._environment is None:
            return
        travelling = {m.path.split("/")[0].removesuffix(".py") for m in manifest.modules}
        if self._own is not None:
            return  # what its environment has is known when it is built
        check([*self._needs, *self._model_needs], self._environment, travelling=travelling)
        self._warnings += version_warnings([*self._model_needs, *self._needs], self._environment)


def _needs(number: int, role: str | None, libraries: Iterable[Library]) -> list[Need]:
    return [Need(number, role, lib.module, lib.distribution, lib.version) for lib in libraries]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
