"""What a bundle declares: the manifest that `deploy` uploads beside its blobs.

A bundle is one manifest plus blobs named by their SHA-256. The manifest alone is enough to show,
compare, list and roll back a version; it is JSON (msgspec), never code. The server stores it as
bytes and reads it with `read_manifest`; the worker finds in it which blob is which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from penstock.codec.branch_entries import check_branches
from penstock.codec.light import UNREADABLE
from penstock.codec.model_folders import check_paths, listing_digest
from penstock.core.errors import InvalidManifest
from penstock.core.interpreter import Interpreter as Interpreter  # noqa: PLC0414 - re-exported
from penstock.core.names import is_sha256
from penstock.core.numbers import InBranch
from penstock.core.signatures import FILES_AT

FORMAT = 1

#: File name of a wheel: distribution, version, build, tags (PEP 427).
_WHEEL = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.!+]+(-[\w.]+)?-[\w.]+-[\w.]+-[\w.]+\.whl")


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the bundle. `name` is for people; `sha256` is what it is stored under."""

    name: str
    sha256: str
    size: int


class Captured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value a function takes along: a global or closure variable. `size` is pickled bytes.

    A function has its source text (`source`) and the `line` where it begins, if they are known.
    """

    name: str
    type: str
    size: int
    source: Blob | None = None
    line: int | None = None


class Imported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A top-level module a function imports, with its distribution on the client, if known."""

    module: str
    distribution: str | None = None
    version: str | None = None


class FunctionEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One processing function: by value (`pickle`) with its source text beside it.

    `uses` are the dotted modules of libraries that it, or a local module of its, imports.
    """

    name: str
    arguments: int
    pickle: Blob
    source: Blob | None = None
    file: str | None = None
    line: int | None = None
    captured: list[Captured] = []
    imports: list[Imported] = []
    uses: list[str] = []


class FolderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model that is a folder. `path` is relative, with forward slashes."""

    path: str
    blob: Blob


class StageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage. A `PYTHON` stage has a `function`, whose pickle is its model.

    `runs_code` says whether loading the model's files can run code; None where there are none.
    Where the model is a file of weights, `function` makes the module that they belong to.

    A model that is a folder has `files`. Its `model` then is no blob that is stored, but says what
    the folder is called, how large its files are together, and which folder it is: its `sha256` is
    the digest of the files' paths and digests (`penstock.codec.model_folders.listing_digest`).

    `packages` are the libraries that a pickled model was saved with: version by distribution.

    A stage with `branches` has the model type `parallel` or `switch`. Its `model` is no blob that
    is stored, but says what its branches are called, and how large they are together.
    """

    model_type: str
    model: Blob
    pre: FunctionEntry | None = None
    post: FunctionEntry | None = None
    function: FunctionEntry | None = None
    setup: FunctionEntry | None = None
    branches: BranchesEntry | None = None
    files: list[FolderFile] = []
    runs_code: bool | None = None
    packages: dict[str, str] = {}

    @property
    def title(self) -> str:
        """What people call the model: its file's name, or its function's name."""
        return self.function.name if self.is_function and self.function else self.model.name

    @property
    def is_function(self) -> bool:
        """Whether the model is the function itself, not what it makes for a file of weights."""
        return self.function is not None and self.function.pickle.sha256 == self.model.sha256

    def functions(self) -> dict[str, FunctionEntry]:
        """Return the stage's functions by role, such as `"model"`, `"pre"`, `"post"`."""
        inner = self.branches
        all_of_them = {
            "setup": self.setup,
            "model": self.function,
            "pre": self.pre,
            "choose": inner.choose if inner else None,
            "combine": inner.combine if inner else None,
            "post": self.post,
        }
        return {role: entry for role, entry in all_of_them.items() if entry is not None}


class BranchEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One branch: its name and its stages, which may be none."""

    name: str
    stages: list[StageEntry] = []


class BranchesEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The branches of a stage. See `penstock.core.branches.BranchStage` for `ready`, `by_name`."""

    flows: list[BranchEntry]
    ready: str | None = None
    by_name: bool = False
    default: str | None = None
    choose: FunctionEntry | None = None
    combine: FunctionEntry | None = None


class ModuleSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local module that travels as source. `path` is relative, with forward slashes."""

    path: str
    blob: Blob


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request a candidate must answer before it may become active."""

    media_type: str
    body: Blob


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a bundle but the bytes of its blobs.

    `requirements` and `python` (as in `3.12`) ask for an environment of its own, `wheels` are
    uploaded packages for it; `packages` are the libraries in use where it was made.
    """

    interpreter: Interpreter
    stages: list[StageEntry]
    format: int = FORMAT
    penstock: str = ""
    cloudpickle: str = ""
    modules: list[ModuleSource] = []
    requirements: list[str] = []
    python: str = ""
    wheels: list[Blob] = []
    packages: dict[str, str] = {}
    example: Example | None = None
    pair_files: bool = False

    def blobs(self) -> dict[str, Blob]:
        """Return every blob of the bundle by SHA-256."""
        found: list[Blob] = []
        for _, stage in self.walk():
            if stage.branches is None:
                found.extend([file.blob for file in stage.files] or [stage.model])
            for entry in stage.functions().values():
                found.append(entry.pickle)
                found.extend(filter(None, [entry.source, *(c.source for c in entry.captured)]))
        found.extend(module.blob for module in self.modules)
        found.extend(self.wheels)
        if self.example is not None:
            found.append(self.example.body)
        return {blob.sha256: blob for blob in found}

    def walk(self) -> Iterator[tuple[int, StageEntry]]:
        """Yield number and entry of all stages, those of branches after the stage they are in."""
        for number, stage in enumerate(self.stages, 1):
            yield number, stage
            yield from _inside(number, stage)

    def has_functions(self) -> bool:
        """Whether any stage has a function, which travels as bytecode."""
        return any(stage.functions() for _, stage in self.walk())

    def uses_files(self) -> bool:
        """Whether any function takes the files argument."""
        return any(
            entry.arguments == FILES_AT.get(role)
            for _, stage in self.walk()
            for role, entry in stage.functions().items()
        )


def _inside(number: int, stage: StageEntry) -> Iterator[tuple[int, StageEntry]]:
    for branch in stage.branches.flows if stage.branches else ():
        for own, inner in enumerate(branch.stages, 1):
            place = InBranch(number, branch.name, own)
            yield place, inner
            yield from _inside(place, inner)


def write_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON bytes."""
    return msgspec.json.encode(manifest)


#: Made at import: zygotes have it, and workers need not build it.
_MANIFEST = msgspec.json.Decoder(Manifest)


def read_manifest(raw: bytes) -> Manifest:
    """Return the manifest in `raw`, checked.

    Raises:
        InvalidManifest: Not JSON, a field is missing or of the wrong type, a hash is no SHA-256,
            a module path leaves the bundle, or the format is newer than this version reads.
    """
    try:
        manifest = _MANIFEST.decode(raw)
    except UNREADABLE as error:
        raise InvalidManifest(f"The manifest cannot be read: {error}.") from None
    if manifest.format != FORMAT:
        raise InvalidManifest(
            f"The manifest has format {manifest.format}; this server reads format {FORMAT}.",
            hint="Install the same version of penstock on both sides.",
        )
    if not manifest.stages:
        raise InvalidManifest("The manifest has no stages.")
    for number, stage in enumerate(manifest.stages, 1):
        check_branches(number, stage)
    for sha256, blob in manifest.blobs().items():
        if not is_sha256(sha256) or blob.size < 0:
            raise InvalidManifest(f"{sha256!r} ({blob.name!r}) is not a SHA-256 with a size.")
    for module in manifest.modules:
        check_module_path(module.path)
    for _number, stage in manifest.walk():
        _check_folder(stage)
    for wheel in manifest.wheels:
        if not _WHEEL.fullmatch(wheel.name):
            raise InvalidManifest(f"{wheel.name!r} is not the file name of a wheel.")
    return manifest


def _check_folder(stage: StageEntry) -> None:
    if not stage.files:
        return
    check_paths([file.path for file in stage.files])
    digest = listing_digest((file.path, file.blob.sha256) for file in stage.files)
    size = sum(file.blob.size for file in stage.files)
    if stage.model.sha256 != digest or stage.model.size != size:
        raise InvalidManifest(
            f"The folder {stage.model.name!r} is not described by its files: their digest is "
            f"{digest} and their size {size}."
        )


def check_module_path(path: str) -> str:
    """Return `path` if it is a relative path of Python identifiers ending in `.py`.

    Raises:
        InvalidManifest: It is absolute, has `..`, or a part that is no identifier.
    """
    parts = path.split("/")
    names = [*parts[:-1], parts[-1].removesuffix(".py")]
    if not path.endswith(".py") or not all(name.isidentifier() for name in names):
        raise InvalidManifest(f"{path!r} is not the path of a Python module inside the bundle.")
    return path


def as_plain(value: msgspec.Struct) -> Any:
    """Return a struct as dicts, lists and scalars, ready for any JSON writer."""
    return msgspec.to_builtins(value)
