"""The folder of one version's processes, and how these are confined. One per pool.

The template and each replica have a folder of their own in it. Where the project has a user of its
own, the folders are that user's, and the version's files are linked into it: the user can read them
there and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from penstock.codec.sandbox import Sandbox
from penstock.core.errors import EngineError
from penstock.engine.base import VersionSpec
from penstock.engine.sandbox.confinement import Confinement


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
        self.path = scratch / name
        self.sandbox: Sandbox | None = None
        if confinement is not None:
            self.sandbox = confinement.sandbox(key, self.path, spec.network)

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
        for path in (self.path, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._user:
                os.chown(path, self._user, self._user)

    def lend(self, blobs: Mapping[str, Path]) -> dict[str, str]:
        """Return paths by SHA-256 that the processes can read the version's files from.

        Raises:
            EngineError: A file cannot be put there.
        """
        if not self._user:
            return {sha256: str(path) for sha256, path in blobs.items()}
        shelf = self.path / "files"
        try:
            self.make(shelf)
            return {sha256: _link(path, shelf / sha256) for sha256, path in blobs.items()}
        except OSError as error:
            raise EngineError(f"A file cannot be lent to a worker: {error}.") from None

    def remove(self) -> None:
        """Remove the folder; no process may be left."""
        shutil.rmtree(self.path, ignore_errors=True)


def _link(path: Path, place: Path) -> str:
    """Have the file at `place` too, readable for everybody who gets there."""
    if not place.exists():
        try:
            os.link(path, place)
        except OSError:  # another file system
            shutil.copyfile(path, place)
        place.chmod(0o444)
    return str(place)
