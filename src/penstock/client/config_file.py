"""A conduit as a JSON file, written by `Conduit.create_json_config` and read by `from_json`.

The file has the name, the stages with the paths of their models, the functions by value with their
source text beside them, and the options. It never has a key. Reading it unpickles the functions,
which runs code, as importing a module does: read files of your own only.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.client.live import saved_in
from penstock.codec.bundle import Blob, FunctionEntry, Interpreter, check_module_path
from penstock.codec.functions import pack_function, unpack_function
from penstock.core.branches import PARALLEL, SWITCH, BranchStage, parallel, switch
from penstock.core.errors import InvalidSetting
from penstock.core.flow import Flow, Stage
from penstock.core.loggers import LoggerSpec, is_reference
from penstock.core.model_types import AnyType, PluginType, built_in
from penstock.core.numbers import InBranch
from penstock.core.pipelines import PipelineSource
from penstock.environments.imports import Scanner

FORMAT = 1


class Saved(NamedTuple):
    """What a file says. `flow` is as a user writes it."""

    name: str
    flow: list[Any]
    options: dict[str, Any]
    loggers: list[LoggerSpec]


def write_config(
    path: Path,
    name: str,
    flow: Flow,
    options: Mapping[str, Any],
    loggers: Sequence[LoggerSpec] = (),
) -> None:
    """Write a conduit to a file.

    Args:
        path: The file.
        name: Name of the deployment.
        flow: Its stages.
        options: Options by name; those without a JSON form are refused.
        loggers: Its loggers.

    Models that are objects are saved beside the file, in a folder `<name of the file>-models`.

    Raises:
        InvalidStage: An object cannot be saved; `stage` says which.
        InvalidSetting: An option has no JSON form.
        CaptureNotPicklable, UndefinedName: A function cannot travel.
    """
    folder = path.resolve().parent
    writer = _Writer(folder)
    flow = saved_in(flow, folder / f"{path.stem}-models")
    found = {
        "format": FORMAT,
        "name": name,
        "interpreter": msgspec.to_builtins(Interpreter.current()),
        "flow": writer.stages(flow.stages, int),
        "options": {n: _plain(n, value) for n, value in options.items()},
        "loggers": [_logger(spec) for spec in loggers],
        "modules": {relative: file.read_text("utf-8") for relative, file in writer.modules()},
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _plain(name: str, value: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_path))
    except (TypeError, ValueError):
        raise InvalidSetting(
            f"The option {name} is a {type(value).__name__}, which has no JSON form.",
            hint="Leave it out of the conduit, and give it when you read the file.",
        ) from None


def _path(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError


def _logger(spec: LoggerSpec) -> dict[str, Any]:
    kept = {n: v for n, v in spec.authentication.items() if is_reference(v)}
    return {**asdict(spec), "authentication": kept}


class _Writer:
    """Turns stages into JSON values."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scanner = Scanner()

    def modules(self) -> list[tuple[str, Path]]:
        return list(self._scanner.sources().items())

    def stages(
        self, stages: Sequence[Stage | BranchStage], number_of: Callable[[int], int]
    ) -> list[dict[str, Any]]:
        return [self._stage(number_of(own), stage) for own, stage in enumerate(stages, 1)]

    def _stage(self, number: int, stage: Stage | BranchStage) -> dict[str, Any]:
        functions = {
            role: self._function(number, role, function, stage.arguments(role))
            for role, function in stage.functions().items()
        }
        if isinstance(stage, BranchStage):
            return {**self._branches(number, stage), "functions": functions}
        source: Any = stage.source
        kind = stage.model_type.value
        told: dict[str, Any] = {"model_type": kind, "functions": functions}
        if isinstance(stage.model_type, PluginType):
            told["suffixes"] = stage.model_type.suffixes
            told["is_folder"] = stage.model_type.is_folder
        if isinstance(source, Path):
            told["path"] = self._relative(source)
        elif isinstance(source, PipelineSource):
            told["arguments"] = dict(source.arguments)
            told["folders"] = {n: self._relative(path) for n, path in source.folders.items()}
        made = stage.build if isinstance(source, Path) else source
        if callable(made):
            functions["model"] = self._function(number, "model", made, stage.arguments("model"))
        return told

    def _branches(self, number: int, stage: BranchStage) -> dict[str, Any]:
        return {
            "kind": stage.kind,
            "combine": stage.ready,
            "by_name": stage.by_name,
            "default": stage.default,
            "branches": {
                b.name: self.stages(b.stages, lambda own, name=b.name: InBranch(number, name, own))  # type: ignore[misc]
                for b in stage.branches
            },
        }

    def _relative(self, path: Path) -> str:
        full = path.resolve()
        inside = full.is_relative_to(self._folder)
        return full.relative_to(self._folder).as_posix() if inside else str(full)

    def _function(
        self, number: int, role: str, function: Callable[..., Any], arguments: int
    ) -> dict[str, Any]:
        scan = self._scanner.scan(function, stage=number, role=role)
        packed = pack_function(
            function,
            stage=number,
            role=role,
            arguments=arguments,
            values=[(value.name, value.value) for value in scan.values],
            by_value=self._scanner.by_value,
        )
        self._scanner.resolve(packed.modules)
        entry = packed.entry
        source = None if entry.source is None else packed.blobs[entry.source.sha256].decode()
        raw = packed.blobs[entry.pickle.sha256]
        return {"name": entry.name, "source": source, "pickle": base64.b64encode(raw).decode()}


def read_config(path: Path) -> Saved:
    """Return the conduit in a file. Runs the code of its functions.

    Raises:
        InvalidSetting: The file cannot be read, or is none that `write_config` wrote.
        InterpreterMismatch: Its functions were written by another Python version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise InvalidSetting(f"{path} has format {found['format']}; this reads {FORMAT}.")
        reader = _Reader(path.resolve().parent, msgspec.convert(found["interpreter"], Interpreter))
        _bring_modules(found["modules"])
        flow = reader.stages(found["flow"])
        loggers = [_read_logger(spec) for spec in found["loggers"]]
        return Saved(str(found["name"]), flow, dict(found["options"]), loggers)
    except OSError as error:
        raise InvalidSetting(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSetting(
            f"{path} is no file of Conduit.create_json_config: {type(error).__name__}: {error}."
        ) from None


def _read_logger(spec: Mapping[str, Any]) -> LoggerSpec:
    names = {name: tuple(spec[name]) for name in ("features", "targets")}
    return LoggerSpec(**{**spec, **names})


def _bring_modules(modules: Mapping[str, str]) -> None:
    """Make the functions' own modules importable where they are not."""
    missing = {
        check_module_path(relative): text
        for relative, text in modules.items()
        if importlib.util.find_spec(relative.split("/")[0].removesuffix(".py")) is None
    }
    if not missing:
        return
    root = Path(tempfile.mkdtemp(prefix="penstock-modules-"))
    for relative, text in missing.items():
        target = root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    sys.path.append(str(root))
    importlib.invalidate_caches()


class _Reader:
    """Turns JSON values into stages as a user writes them."""

    def __init__(self, folder: Path, made_by: Interpreter) -> None:
        self._folder = folder
        self._made_by = made_by

    def stages(self, found: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [self._stage(number, stage) for number, stage in enumerate(found, 1)]

    def _stage(self, number: int, found: Mapping[str, Any]) -> Any:
        functions = {
            role: self._function(number, role, function)
            for role, function in found["functions"].items()
        }
        if "branches" in found:
            return (self._branches(found, functions), functions)
        kind = _model_type(found)
        if "path" in found:
            return (kind, self._folder / found["path"], functions)
        if "arguments" in found:
            folders = {name: self._folder / path for name, path in found["folders"].items()}
            return (kind, {**found["arguments"], **folders}, functions)
        return (kind, functions.pop("model"), functions)

    def _branches(self, found: Mapping[str, Any], functions: dict[str, Any]) -> Any:
        flows = {name: self.stages(inner) for name, inner in found["branches"].items()}
        if found["kind"] == SWITCH:
            return switch(functions.pop("choose"), flows, found["default"])
        if found["kind"] != PARALLEL:
            raise ValueError(found["kind"])
        combine = functions.pop("combine", found["combine"])
        return parallel(flows if found["by_name"] else list(flows.values()), combine)

    def _function(self, number: int, role: str, found: Mapping[str, Any]) -> Callable[..., Any]:
        raw = base64.b64decode(found["pickle"], validate=True)
        blob = Blob(role, hashlib.sha256(raw).hexdigest(), len(raw))
        entry = FunctionEntry(str(found["name"]), 1, blob)
        return unpack_function(raw, entry, self._made_by, stage=number, role=role)


def _model_type(found: Mapping[str, Any]) -> AnyType:
    text = str(found["model_type"])
    known = built_in(text)
    if known is not None:
        return known
    return PluginType(text, tuple(found["suffixes"]), bool(found["is_folder"]))
