"""Penstock itself inside an environment: a copy of this package and the libraries it needs there.

An environment holds what the user asked for and, locked together with it, the few libraries that a
worker needs. The package is not installed into it: it lies beside, named by the hash of its files,
and is put on the path when a process is started. So an environment outlives a new version of
Penstock, and any interpreter can have one. The copy is made when a server first needs it, so that
upgrading the package under a running server changes nothing for its workers.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

#: What a worker imports besides the standard library, as requirements.
REQUIREMENTS = ("cloudpickle>=3.1,<4", "msgspec>=0.20,<1", "numpy>=1.22")

#: Names that never come from an index inside an environment.
EXCLUDED = ("penstock",)

#: The program of a process in an environment: path of the copy, module to run, its arguments.
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from importlib import import_module; "
    "import_module(sys.argv.pop(1)).main()"
)


class Runtime:
    """The copy of this package below `folder`, made at the first call of `path`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def path(self) -> Path:
        """Return the folder that holds the copy; earlier servers' copies are deleted."""
        if self._path is None:
            source = Path(__file__).parents[1]
            files = sorted(f for f in source.rglob("*") if f.is_file() and f.suffix != ".pyc")
            home = self._folder / _digest(source, files)
            if not home.is_dir():
                _copy(source, files, home)
            for other in self._folder.iterdir():
                if other != home:
                    shutil.rmtree(other, ignore_errors=True)
            self._path = home
        return self._path


def _digest(source: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(source)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _copy(source: Path, files: list[Path], home: Path) -> None:
    made = home.with_name(f".{uuid.uuid4().hex}")
    for file in files:
        target = made / source.name / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    try:
        made.rename(home)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not home.is_dir():
            raise
