"""The folder of the environments: which there are, what they are locked to, who used them last.

<key>/            a built environment: a virtual environment, read-only, with `built.json`
<key>.lock.json   its lock, from which it can be built again
<key>.unused      empty; its time is when the last deployment that used it went
requests/         what was asked for, by hash -> the key it resolved to
wheels/           uploaded wheels, each in a folder named by its SHA-256
building/         environments that are not finished; emptied when a server starts
runtime/          copies of Penstock for the workers

One server at a time uses a folder (see `wiring.data_folder`). Nothing here runs uv.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from penstock.environments.distributions import installed
from penstock.environments.lock import Lock

T = TypeVar("T")

_LOCK = ".lock.json"
_UNUSED = ".unused"
_KEY_LENGTH = 32

#: Everybody may read: workers may be other users than the server.
_FOLDER = 0o555

_WRITABLE = 0o222


class Built(msgspec.Struct, frozen=True):
    """How an environment was built: seconds it took, bytes of its own files."""

    seconds: float
    size_bytes: int
    built_at: float


class Shelf:
    """Environments below `root`. Looking changes nothing; `prepare` comes before building."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runtime = root / "runtime"
        self._requests = root / "requests"
        self._building = root / "building"
        self._wheels = root / "wheels"

    def prepare(self) -> Shelf:
        """Make the folders that are missing, delete what was not finished, and return the shelf."""
        for folder in (self.root, self.runtime, self._requests, self._wheels):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        remove(self._building)
        self._building.mkdir(mode=0o700)
        return self

    def path(self, key: str) -> Path:
        """Return where an environment is, or would be."""
        return self.root / key

    def python(self, key: str) -> Path:
        """Return the executable of an environment."""
        return self.root / key / "bin" / "python"

    def is_built(self, key: str) -> bool:
        """Whether an environment is there and its interpreter still exists."""
        return (self.path(key) / "built.json").exists() and self.python(key).exists()

    def built(self, key: str) -> Built | None:
        """Return how an environment was built; None if it is not."""
        return _read(self.path(key) / "built.json", Built)

    def lock(self, key: str) -> Lock | None:
        """Return the lock of an environment; None if it is not known."""
        return _read(self.root / f"{key}{_LOCK}", Lock)

    def all_keys(self) -> list[str]:
        """Return the keys of all environments that can be had, built or not."""
        return sorted(path.name.removesuffix(_LOCK) for path in self.root.glob(f"*{_LOCK}"))

    def strays(self) -> Iterator[Path]:
        """Yield environments whose lock is lost, so that nobody can use them."""
        for path in self.root.iterdir():
            if len(path.name) == _KEY_LENGTH and path.is_dir() and self.lock(path.name) is None:
                yield path

    def remember(self, lock: Lock) -> None:
        """Keep a lock."""
        _write(self.root / f"{lock.key}{_LOCK}", msgspec.json.encode(lock))

    def answer_to(self, request: str) -> Lock | None:
        """Return what a request resolved to before; None if it was never made."""
        try:
            key = (self._requests / request).read_text("ascii").strip()
        except OSError:
            return None
        return self.lock(key)

    def remember_answer(self, request: str, key: str) -> None:
        """Keep what a request resolved to."""
        _write(self._requests / request, key.encode("ascii"))

    def new_folder(self) -> Path:
        """Return a fresh folder to build in, on the same disk."""
        folder = self._building / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def wheel_folder(self, name: str, sha256: str, source: Path) -> Path:
        """Return a folder that holds the uploaded wheel under its own name."""
        folder = self._wheels / sha256
        if not (folder / name).exists():
            folder.mkdir(exist_ok=True)
            made = folder / f".{uuid.uuid4().hex}"
            shutil.copyfile(source, made)
            made.rename(folder / name)
        return folder

    def put(self, key: str, folder: Path, seconds: float) -> None:
        """Make a finished folder the environment `key`, read-only, in place of one before."""
        size = protect(folder)
        (folder / "built.json").write_bytes(msgspec.json.encode(Built(seconds, size, time.time())))
        final = self.path(key)
        if final.exists():
            final.rename(self._building / uuid.uuid4().hex)
        folder.rename(final)
        final.chmod(_FOLDER)  # a folder that must not be written cannot be moved either

    # --- collecting ---

    def collect(self, used: Collection[str], grace_s: float, now: float) -> list[str]:
        """Delete environments that nothing has used for `grace_s` seconds; return their keys.

        Args:
            used: Keys of those that some version uses, or that are being built.
            grace_s: How long an unused one is kept.
            now: The time, in seconds since the epoch.
        """
        gone = []
        for key in self.all_keys():
            mark = self.root / f"{key}{_UNUSED}"
            if key in used:
                mark.unlink(missing_ok=True)
            elif not mark.exists():
                mark.touch()
                os.utime(mark, (now, now))
            elif now - mark.stat().st_mtime >= grace_s:
                self.delete(key)
                gone.append(key)
        for stray in list(self.strays()):
            remove(stray)
        self._forget_requests()
        return gone

    def delete(self, key: str) -> None:
        """Delete an environment and its lock."""
        (self.root / f"{key}{_LOCK}").unlink(missing_ok=True)
        (self.root / f"{key}{_UNUSED}").unlink(missing_ok=True)
        remove(self.path(key))

    def _forget_requests(self) -> None:
        known = set(self.all_keys())
        for path in self._requests.iterdir():
            if path.read_text("ascii", "replace").strip() not in known:
                path.unlink(missing_ok=True)
        needed: set[str] = set()
        for key in known:
            lock = self.lock(key)
            needed.update(lock.wheels.values() if lock is not None else ())
        for folder in self._wheels.iterdir():
            if folder.name not in needed:
                remove(folder)


def missing_packages(lock: Lock, environment: Path) -> list[str]:
    """Return the distributions of a lock that a built environment does not have."""
    sites = environment.glob("lib/python3.*/site-packages")
    found = installed([str(site) for site in sites])
    return sorted(name for name in lock.packages if name not in found)


def protect(folder: Path) -> int:
    """Take the permission to write from everything in `folder`; return its own files' bytes.

    A file that is linked to the cache too is counted as nothing: it takes no room.
    """
    size = 0
    for path, inner, files in os.walk(folder):
        for name in files:
            file = os.path.join(path, name)
            found = os.lstat(file)
            if stat.S_ISREG(found.st_mode):
                size += found.st_size if found.st_nlink == 1 else 0
                if found.st_mode & _WRITABLE:  # linked files were protected the first time
                    os.chmod(file, stat.S_IMODE(found.st_mode) & ~_WRITABLE)
        for name in inner:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), _FOLDER)
    return size


def remove(folder: Path) -> None:
    """Delete a folder with everything in it, also when it is read-only."""
    for path, inner, _files in os.walk(folder):
        os.chmod(path, 0o700)
        for name in inner:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes) -> None:
    made = path.with_name(f".{uuid.uuid4().hex}")
    made.write_bytes(content)
    made.replace(path)
