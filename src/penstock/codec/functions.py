"""Processing functions to bytes and back.

`pack_function` runs in the client: the function by value (cloudpickle), its source text beside
it, and a list of what it takes along. `install_modules` and `unpack_function` run in the worker:
first the user's own modules are put on the path, then the functions are unpickled, after the
interpreter was compared. Cloudpickle is imported inside functions, because the server process
imports this package and must never hold a pickler.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec

from penstock.codec.bundle import (
    Blob,
    Captured,
    FunctionEntry,
    Interpreter,
    Manifest,
    check_module_path,
)
from penstock.core.errors import (
    BlobCorrupt,
    BlobMissing,
    CaptureNotPicklable,
    InterpreterMismatch,
    LoadFailed,
    MissingImports,
)
from penstock.core.numbers import place


@dataclass(frozen=True)
class PackedFunction:
    """A function ready to travel.

    Attributes:
        entry: Its place in the manifest, without imports.
        blobs: Pickle and source text by SHA-256.
        modules: Dotted names of the modules that unpickling will import.
        size: Bytes of the values it takes along.
    """

    entry: FunctionEntry
    blobs: dict[str, bytes]
    modules: frozenset[str]
    size: int


def make_blob(name: str, content: bytes) -> Blob:
    """Return the manifest's description of `content`."""
    return Blob(name, hashlib.sha256(content).hexdigest(), len(content))


def pack_function(
    function: Callable[..., Any],
    *,
    stage: int,
    role: str,
    arguments: int,
    values: Sequence[tuple[str, Any]] = (),
    by_value: Collection[str] = (),
) -> PackedFunction:
    """Return `function` by value with its source text.

    Args:
        function: Any callable: function, lambda, partial, bound method, callable object.
        stage: Number of its stage, from 1.
        role: `"pre"`, `"post"`, `"setup"`, …
        arguments: How many positional arguments it is called with.
        values: Name and value of what it takes along, to be measured and named in errors.
        by_value: Loaded modules whose functions travel as code although they can be imported.

    Raises:
        CaptureTooLarge: `values` are over 32 MiB when pickled.
        CaptureNotPicklable: Something it uses cannot travel; names the variable.
    """
    from penstock.codec.captures import Where, check_total, measure
    from penstock.codec.source_text import source_of

    where = Where(stage, role)
    with _pickled_by_value(by_value):
        captured, refused = measure(values, where)
        raw, imported = _pickle(function, where, refused)
    check_total(captured, len(raw), where)
    found = source_of(function)
    blobs = {f"stage{place(stage)}-{role}.pkl": raw}
    if found.text is not None:
        blobs[f"stage{place(stage)}-{role}.py"] = found.text.encode()
    pickled, *source = [make_blob(name, content) for name, content in blobs.items()]
    captured, helpers = _with_sources(captured, values)
    blobs.update(helpers)
    entry = FunctionEntry(
        name=_name(function),
        arguments=arguments,
        pickle=pickled,
        source=source[0] if source else None,
        file=found.file,
        line=found.line,
        captured=captured,
    )
    return PackedFunction(
        entry=entry,
        blobs={make_blob(name, content).sha256: content for name, content in blobs.items()},
        modules=_references(raw, where) | imported,
        size=sum(item.size for item in captured),
    )


def _with_sources(
    captured: Sequence[Captured], values: Sequence[tuple[str, Any]]
) -> tuple[list[Captured], dict[str, bytes]]:
    """Add the source text of captured functions, for people to read; return it by file name."""
    from penstock.codec.source_text import source_of

    by_name = dict(values)
    blobs: dict[str, bytes] = {}
    out = []
    for item in captured:
        value = by_name.get(item.name)
        found = source_of(value) if isinstance(value, FunctionType) else None
        if found is None or found.text is None:
            out.append(item)
            continue
        name, content = f"{item.name}.py", found.text.encode()
        blobs[name] = content
        out.append(msgspec.structs.replace(item, source=make_blob(name, content), line=found.line))
    return out, blobs


def unpack_function(
    raw: bytes | memoryview,
    entry: FunctionEntry,
    made_by: Interpreter,
    *,
    stage: int | None = None,
    role: str | None = None,
) -> Callable[..., Any]:
    """Return the function that `pack_function` packed. Runs the user's code; workers only.

    Args:
        raw: The content of `entry.pickle`.
        entry: The function's place in the manifest.
        made_by: The interpreter that packed it (`Manifest.interpreter`).
        stage: Number of its stage, for messages.
        role: `"pre"` or `"post"`, for messages.

    Raises:
        InterpreterMismatch: This Python cannot run the function's bytecode. Nothing was loaded.
        BlobCorrupt: `raw` is not what the manifest names.
        MissingImports: It needs a module that is not installed here.
        LoadFailed: Unpickling failed otherwise; the traceback is in the error.
    """
    where = f"`{role or entry.name}`" + (f" of stage {stage}" if stage else "")
    check_interpreter(made_by, Interpreter.current(), what=f"{where} was", stage=stage, role=role)
    if hashlib.sha256(raw).hexdigest() != entry.pickle.sha256:
        raise BlobCorrupt(
            f"The bytes of {where} do not match their SHA-256.", stage=stage, function=role
        )
    function = _load(raw, where, stage, role)
    if not callable(function):
        raise LoadFailed(f"{where} is no function after loading.", stage=stage, function=role)
    return function  # type: ignore[no-any-return]


def _load(raw: bytes | memoryview, where: str, stage: int | None, role: str | None) -> Any:
    import pickle

    try:
        return pickle.loads(raw)
    except ModuleNotFoundError as error:
        raise MissingImports(
            f"{where} needs the module {error.name!r}, which is not installed in the worker.",
            stage=stage,
            function=role,
            type="ModuleNotFoundError",
            hint=f"Install {error.name!r} in the server's environment, then deploy again.",
            traceback=traceback.format_exc(),
        ) from error
    except Exception as error:
        raise LoadFailed(
            f"{where} could not be loaded: {type(error).__name__}: {error}.",
            stage=stage,
            function=role,
            type=type(error).__name__,
            hint=_imported_module(error),
            traceback=traceback.format_exc(),
        ) from error


def _imported_module(error: BaseException) -> str | None:
    """Return what to do where a module of the user's own raised while it was imported."""
    frames = traceback.extract_tb(error.__traceback__)
    modules = [frame for frame in frames if frame.name == "<module>"]
    file = Path(modules[-1].filename) if modules else Path()
    # `install_modules` put the folder of the user's modules first.
    if not file.is_absolute() or not file.is_relative_to(sys.path[0]):
        return None
    return (
        f"{file.name}, line {modules[-1].lineno}: the server imports that file too, "
        "so what stands at its top level is done there again. Move what trains a model or reads "
        'data into a function, below `if __name__ == "__main__":`, or to another file.'
    )


def check_interpreter(
    made_by: Interpreter,
    here: Interpreter,
    *,
    what: str = "The functions were",
    stage: int | None = None,
    role: str | None = None,
) -> None:
    """Raise `InterpreterMismatch` unless `here` can load what `made_by` pickled.

    Args:
        made_by: The Python that made the functions.
        here: The Python that would load them.
        what: Beginning of the message, with its verb: `"The functions were"`.
        stage: Number of the stage concerned, if one.
        role: `"pre"` or `"post"`, if one is concerned.
    """
    if here.can_load_functions_of(made_by):
        return
    raise InterpreterMismatch(
        f"{what} made by {made_by.implementation} {made_by.version}, but the server runs "
        f"{here.implementation} {here.version}, which cannot load the bytecode.",
        stage=stage,
        function=role,
        hint=f"Deploy from Python {here.minor}, or run the server with Python {made_by.minor}.",
        made_by=made_by.version,
        server=here.version,
    )


def install_modules(
    manifest: Manifest, blob_paths: Mapping[str, str | Path], folder: str | Path
) -> None:
    """Write the bundle's local modules below `folder` and put it first on `sys.path`.

    Called once in a worker, before its functions and models are loaded. Already imported modules
    of the same top-level names are forgotten, so that the bundle's own are found.

    Raises:
        BlobMissing: A module's source is not among `blob_paths`.
        InvalidManifest: A module's path leaves the folder.
    """
    if not manifest.modules:
        return
    root = Path(folder).resolve()
    for module in manifest.modules:
        target = root / check_module_path(module.path)
        if module.blob.sha256 not in blob_paths:
            raise BlobMissing(f"The source of the module {module.path!r} is missing.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(blob_paths[module.blob.sha256]).read_bytes())
    tops = {module.path.split("/")[0].removesuffix(".py") for module in manifest.modules}
    for name in [n for n in sys.modules if n.split(".")[0] in tops]:
        del sys.modules[name]
    sys.path[:] = [str(root), *(entry for entry in sys.path if entry != str(root))]
    importlib.invalidate_caches()


def _pickle(
    function: Callable[..., Any], where: Any, refused: Sequence[Any]
) -> tuple[bytes, frozenset[str]]:
    from penstock.codec.captures import not_picklable
    from penstock.codec.pickler import FunctionPickler

    file = io.BytesIO()
    pickler = FunctionPickler(file)
    try:
        pickler.dump(function)
    except Exception as error:
        raise not_picklable(refused, error, where) from error
    return file.getvalue(), frozenset(pickler.modules)


def _references(raw: bytes, where: Any) -> frozenset[str]:
    """Return the modules the pickle imports; refuse references into a script."""
    from penstock.codec.pickles import read_facts

    facts = read_facts(io.BytesIO(raw))
    scripts = sorted(name for module, name in facts.names if module in {"__main__", "__mp_main__"})
    if scripts:
        raise CaptureNotPicklable(
            f"{where} uses `{scripts[0]}` of the script or notebook through a value that stores "
            "only its name, which the server cannot look up.",
            stage=where.stage,
            function=where.role,
            hint=f"Move `{scripts[0]}` to a module of its own and import it from there.",
            variable=scripts[0],
        )
    return facts.modules


@contextmanager
def _pickled_by_value(modules: Collection[str]) -> Iterator[None]:
    import cloudpickle

    before = cloudpickle.list_registry_pickle_by_value()
    added = [name for name in modules if name in sys.modules and name not in before]
    for name in added:
        cloudpickle.register_pickle_by_value(sys.modules[name])
    try:
        yield
    finally:
        for name in added:
            if name in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(sys.modules[name])


def _name(function: Any) -> str:
    while hasattr(function, "func") and not hasattr(function, "__name__"):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
