"""The folder of one version's processes, and how these are confined. One per pool.

The template and each replica have a folder of their own in it. Where the project has a user of its
own, these folders are that user's, and what holds them is the server's: nobody can put anything in
their place. The version's files are linked into a folder beside it, for a user that can read them
there and nowhere else, and for an environment whose packages must see the files of no other.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from penstock.codec.sandbox import GUARDED, Sandbox
from penstock.core.errors import EngineError
from penstock.engine.base import Environment, VersionSpec
from penstock.engine.sandbox.confinement import Confinement

#: Who may go through a folder: everybody, the project's user, nobody.
_ALL, _GROUP, _NONE = 0o711, 0o710, 0o700


def places(scratch: Path, environment: Environment | None) -> tuple[Path, Path]:
    """Make, and return, what holds the homes and the files of the versions of an environment."""
    base = scratch / (environment.key if environment is not None else "own")
    found = base / "homes", base / "files"
    for path in (base, *found):
        _make(path, _ALL)
    return found


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=_NONE)
    except FileExistsError:
        return
    path.chmod(mode)  # whatever the server's umask is


class Home:
    """The folder of one version's processes; made with the first of them.

    Args:
        scratch: The engine's folder.
        spec: The version.
        confinement: Says how its processes are confined; None: not at all.

    Attributes:
        path: The folder.
        sandbox: How its processes are confined, or None.
    """

    def __init__(self, scratch: Path, spec: VersionSpec, confinement: Confinement | None) -> None:
        key = spec.key
        name = f"{key.project}-{key.deployment}-{key.number}-{uuid.uuid4().hex[:12]}"
        homes, files = places(scratch, spec.environment)
        self.path = homes / name
        self._shelf = files / name
        self.sandbox: Sandbox | None = None
        if confinement is not None:
            self.sandbox = confinement.sandbox(key, self.path, spec.network)
        tier = self.sandbox.tier if self.sandbox is not None else ""
        self._apart = bool(self._user or (spec.environment is not None and tier == GUARDED))

    @property
    def _user(self) -> int:
        return self.sandbox.user if self.sandbox is not None else 0

    def folder(self, what: str) -> Path:
        """Return the path of a new folder; `make` makes it."""
        return self.path / f"{what}-{uuid.uuid4().hex[:12]}"

    def make(self, folder: Path) -> None:
        """Make the folder of one process.

        Raises:
            OSError: It cannot be made.
        """
        self._make_holder(self.path)
        _make(folder, _NONE)
        if self._user:
            os.chown(folder, self._user, self._user, follow_symlinks=False)

    def _make_holder(self, holder: Path) -> None:
        """Make a folder that holds what the processes get, and is not theirs to change."""
        _make(holder, _GROUP if self._user else _NONE)
        if self._user:
            os.chown(holder, -1, self._user, follow_symlinks=False)

    def lend(self, blobs: Mapping[str, Path]) -> dict[str, str]:
        """Return paths by SHA-256 that the processes can read the version's files from.

        Raises:
            EngineError: A file cannot be put there.
        """
        if not self._apart:
            return {sha256: str(path) for sha256, path in blobs.items()}
        try:
            self._make_holder(self._shelf)
            return {sha256: _link(path, self._shelf / sha256) for sha256, path in blobs.items()}
        except OSError as error:
            raise EngineError(f"A file cannot be lent to a worker: {error}.") from None

    def remove(self) -> None:
        """Remove the folder; no process may be left."""
        for path in (self.path, self._shelf):
            shutil.rmtree(path, ignore_errors=True)


def _link(path: Path, place: Path) -> str:
    """Have the file at `place` too, readable for everybody who gets there."""
    if not place.exists():
        try:
            os.link(path, place)
        except OSError:  # another file system
            shutil.copyfile(path, place)
        place.chmod(0o444)
    return str(place)
