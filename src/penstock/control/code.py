"""The code of versions as it was deployed: functions, helpers, modules, and what is around them.

Read from the bundles, never run. Called by the dashboard's code page, which also compares two
versions: every part of a version is text under a key that is the same in all versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from penstock.codec.bundle import Blob, Captured, FunctionEntry, Imported, Manifest, read_manifest
from penstock.control.database import Database
from penstock.core.errors import BlobCorrupt, BlobMissing, NotFound
from penstock.core.numbers import timing_name
from penstock.core.records import VersionRecord
from penstock.core.states import VersionState
from penstock.stores.base import BlobStore

#: A text that is larger (bytes) is shown up to here.
SHOWN_BYTES = 512 * 1024


class Piece(NamedTuple):
    """Lines of a file that belong together. `line` is the number of the first one there."""

    line: int
    text: str


class CodePart(NamedTuple):
    """One text of a version.

    Attributes:
        key: The same in every version of the deployment: `s1-pre`, `s1-pre/helper`,
            `s1-forest-s2-post` for a stage in a branch, `settings`.
        title: Name of the function, or what it is.
        role: That of a function, such as `pre` or `choose`; or `helper`, `module`, `other`.
        stage: Number of the stage, 0 for what belongs to none.
        pieces: The text. Empty when the client could not find the source.
        file: Name of the file it was written in, if known.
        line: Its first line there, if known.
        signature: How the function begins, as `read_images(data, files)`.
        captured: What travelled with it.
        imports: What it imports, with the client's versions.
        size: Pickled bytes.
        own: The text of the function alone; `pieces` may have the whole module.
    """

    key: str
    title: str
    role: str
    stage: int
    pieces: tuple[Piece, ...] = ()
    file: str | None = None
    line: int | None = None
    signature: str = ""
    captured: Sequence[Captured] = ()
    imports: Sequence[Imported] = ()
    size: int = 0
    own: str = ""

    @property
    def text(self) -> str:
        """All pieces, one after another."""
        return "\n\n".join(piece.text.rstrip("\n") for piece in self.pieces)


class VersionCode(NamedTuple):
    """The parts of one version, in the order to show them, and its packages at deploy."""

    number: int
    parts: list[CodePart]
    packages: dict[str, str]
    manifest: Manifest

    def part(self, key: str) -> CodePart | None:
        """Return a part by its key."""
        return next((part for part in self.parts if part.key == key), None)


class Code:
    """Sources of versions. Every method runs on the event loop.

    Args:
        database: Where versions are remembered.
        blobs: Where the bundles' files are.
    """

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    async def of(self, project: str, name: str, number: int) -> VersionCode:
        """Return a version's code.

        Raises:
            NotFound: There is no such version.
        """
        database = self._database
        found = await database.call(database.records.get_deployment, project, name)
        for record in found.versions if found is not None else ():
            if record.number == number and record.state is not VersionState.DELETED:
                return await asyncio.to_thread(self._read, record)
        raise NotFound(f"There is no version {number} of {project}/{name}.")

    def _read(self, record: VersionRecord) -> VersionCode:
        manifest = read_manifest(record.manifest)
        parts = [*self._functions(manifest), *self._modules(manifest), *_around(record, manifest)]
        return VersionCode(record.number, parts, manifest.packages, manifest)

    def _functions(self, manifest: Manifest) -> Iterator[CodePart]:
        modules = {m.path.rpartition("/")[2]: m.blob for m in manifest.modules}
        for number, stage in manifest.walk():
            for role, entry in stage.functions().items():
                yield from self._function(number, role, entry, modules)

    def _function(
        self, stage: int, role: str, entry: FunctionEntry, modules: Mapping[str, Blob]
    ) -> Iterator[CodePart]:
        own = self._piece(entry.line, entry.source)
        helpers = [(c, p) for c in entry.captured for p in self._piece(c.line, c.source)]
        pieces = sorted({*own, *(piece for _captured, piece in helpers)})
        module = self._piece(1, modules.get(entry.file or ""))
        if module and own and own[0].text in module[0].text:
            pieces = module
        key = f"{timing_name(stage)}-{role}"
        yield CodePart(
            key=key,
            title=entry.name,
            role=role,
            stage=stage,
            pieces=tuple(pieces),
            file=entry.file,
            line=entry.line,
            signature=_signature(entry, own),
            captured=entry.captured,
            imports=entry.imports,
            size=entry.pickle.size,
            own=own[0].text if own else "",
        )
        for captured, piece in helpers:
            title = captured.name
            yield CodePart(
                f"{key}/{title}",
                title,
                "helper",
                stage,
                (piece,),
                entry.file,
                piece.line,
                title,
                size=captured.size,
            )

    def _modules(self, manifest: Manifest) -> Iterator[CodePart]:
        for module in manifest.modules:
            yield CodePart(
                f"module/{module.path}",
                module.path,
                "module",
                0,
                tuple(self._piece(1, module.blob)),
                module.path,
                1,
                module.path,
                size=module.blob.size,
            )

    def _piece(self, line: int | None, blob: Blob | None) -> list[Piece]:
        if blob is None:
            return []
        try:
            content = self._blobs.read(blob.sha256)[:SHOWN_BYTES]
        except (BlobMissing, BlobCorrupt):
            return []
        return [Piece(line or 1, content.decode("utf-8", "replace").rstrip("\n"))]


def _signature(entry: FunctionEntry, own: Sequence[Piece]) -> str:
    """Return name and arguments as they are written, or the name alone."""
    for piece in own:
        for line in piece.text.splitlines():
            head = line.strip().removeprefix("async ")
            if head.startswith(f"def {entry.name}("):
                arguments = head.removeprefix(f"def {entry.name}(").partition(")")[0]
                names = [part.partition(":")[0].strip() for part in arguments.split(",")]
                return f"{entry.name}({', '.join(n for n in names if n.isidentifier())})"
    return entry.name


def _around(record: VersionRecord, manifest: Manifest) -> Iterator[CodePart]:
    """Give what is not code but changes what a version does, as text."""
    made_by = manifest.interpreter
    python = f"{made_by.implementation} {made_by.version}"
    requirements = manifest.requirements or ["(the server's own environment)"]
    settings = msgspec.to_builtins(record.settings)
    models = [
        f"{s.model_type}  {s.title}  {s.model.size} bytes  {s.model.sha256[:12]}"
        for _number, s in manifest.walk()
    ]
    yield _other("requirements", [f"python: {python}", *requirements])
    yield _other("settings", [f"{name} = {value}" for name, value in settings.items()])
    yield _other("model files", models)


def _other(title: str, lines: Sequence[str]) -> CodePart:
    return CodePart(title.replace(" ", "-"), title, "other", 0, (Piece(1, "\n".join(lines)),))
