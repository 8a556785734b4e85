"""`BlobStore` in a folder: `<root>/<first two hex digits>/<sha256>`, read-only files.

Called from worker threads. A blob is written to `<root>/incoming` first and renamed when it is
whole, hashed and on the disk, so nobody ever sees half of one. `path` hashes a file again whenever
its size, times or inode differ from when it was last found good.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.core.errors import BlobCorrupt, BlobMissing, InvalidName
from penstock.core.faults import fault
from penstock.core.names import is_sha256
from penstock.stores.failures import disk_failure
from penstock.stores.file_writer import FileBlobWriter, sync_folder

_READ_SIZE = 1024 * 1024


class Signature(NamedTuple):
    """What changes when somebody touches a file."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Return the signature in a `stat` answer."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class FileBlobs:
    """Blobs in a folder. See `BlobStore` for what each method promises.

    Args:
        root: The folder; created if need be (mode 0700).

    Raises:
        StoreError: The folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        # Guards the two dicts, and keeps `collect` from deleting what was just asked for.
        self._lock = threading.Lock()
        self._good: dict[str, Signature] = {}
        self._bad: dict[str, Signature] = {}
        self._asked: dict[str, float] = {}
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._incoming.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk_failure(error, f"Making the blob folder {root}") from error

    def has(self, sha256: str) -> bool:
        """Whether the blob is there; False also for one that was found corrupt."""
        place = self._place(sha256)
        with self._lock:
            self._asked[sha256] = time.time()
            found = _signature(place)
            return found is not None and self._bad.get(sha256) != found

    def missing(self, sha256s: Sequence[str]) -> list[str]:
        """Return those that are not there, in the order given."""
        return [sha256 for sha256 in sha256s if not self.has(sha256)]

    def begin(self, sha256: str) -> FileBlobWriter:
        """Begin to write a blob. Touches the disk only with the first byte."""
        self._place(sha256)
        return FileBlobWriter(sha256, self._incoming, self._keep)

    def path(self, sha256: str) -> Path:
        """Return a path to read the blob from, after checking its bytes against its name."""
        place = self._place(sha256)
        with self._lock:
            self._asked[sha256] = time.time()
            if (found := _signature(place)) is not None and self._good.get(sha256) == found:
                return place
        with self._open(sha256, place) as descriptor:
            before = Signature.of(os.fstat(descriptor.number))
            self._judge(sha256, before, descriptor.digest())
        return place

    def read(self, sha256: str) -> bytes:
        """Return the blob's bytes; the very bytes that are returned were checked."""
        place = self._place(sha256)
        with self._lock:
            self._asked[sha256] = time.time()
        with self._open(sha256, place) as descriptor:
            before = Signature.of(os.fstat(descriptor.number))
            data = descriptor.read_all()
            self._judge(sha256, before, hashlib.sha256(data).hexdigest())
        return data

    def collect(self, keep: frozenset[str], older_than: float) -> int:
        """Delete blobs not in `keep` and older than a time; return the bytes freed."""
        try:
            freed = sum(
                self._collect_one(entry, older_than)
                for folder in self._folders()
                for entry in folder.iterdir()
                if entry.name not in keep
            )
        except OSError as error:
            raise disk_failure(error, f"Collecting blobs in {self._root}") from error
        with self._lock:
            self._asked = {name: at for name, at in self._asked.items() if at >= older_than}
        return freed

    def _folders(self) -> list[Path]:
        # Leftovers of uploads that were cut off by a crash lie in `incoming`; they age as well.
        shelves = (self._root / f"{number:02x}" for number in range(256))
        return [self._incoming, *(shelf for shelf in shelves if shelf.is_dir())]

    def _collect_one(self, entry: Path, older_than: float) -> int:
        with self._lock:
            try:
                status = entry.lstat()
                used_at = max(status.st_mtime, self._asked.get(entry.name, 0.0))
                if used_at >= older_than:
                    return 0
                entry.unlink()
            except FileNotFoundError:
                return 0  # an upload ended meanwhile
            self._good.pop(entry.name, None)
            self._bad.pop(entry.name, None)
            return status.st_size

    def _place(self, sha256: str) -> Path:
        """Return where a blob lies. Only a SHA-256 becomes a path, whatever was sent."""
        if not is_sha256(sha256):
            raise InvalidName(
                f"{sha256[:80]!r} is not the name of a blob: use the SHA-256 of its bytes, "
                "64 lower-case hexadecimal digits."
            )
        return self._root / sha256[:2] / sha256

    def _keep(self, sha256: str, temporary: Path, descriptor: int) -> None:
        """Make a written, hashed and synced file the blob; called by its writer."""
        place = self._place(sha256)
        made = not place.parent.exists()
        place.parent.mkdir(mode=0o700, exist_ok=True)
        if made:
            sync_folder(self._root)
        with self._lock:
            temporary.replace(place)
            self._asked[sha256] = time.time()
            self._good[sha256] = Signature.of(os.fstat(descriptor))
            self._bad.pop(sha256, None)
        fault("blob.placed")
        sync_folder(place.parent)

    def _judge(self, sha256: str, signature: Signature, found: str) -> None:
        """Remember whether the file with this signature is good; raise if it is not."""
        with self._lock:
            known, other = (self._good, self._bad) if found == sha256 else (self._bad, self._good)
            known[sha256] = signature
            other.pop(sha256, None)
        if found != sha256:
            raise BlobCorrupt(
                f"The stored file {sha256} has changed on the disk: its bytes now have the "
                f"SHA-256 {found}.",
                hint="Deploy again: the file is then sent again. Check the disk of the server.",
            )

    def _open(self, sha256: str, place: Path) -> _Descriptor:
        try:
            return _Descriptor(os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), place)
        except FileNotFoundError:
            raise BlobMissing(
                f"The server has no file {sha256}.", hint="Upload it, then deploy again."
            ) from None
        except OSError as error:
            raise disk_failure(error, f"Opening the stored file {place}") from error


class _Descriptor:
    """An open blob; closes itself at the end of a `with`."""

    def __init__(self, number: int, place: Path) -> None:
        self.number = number
        self._place = place

    def __enter__(self) -> _Descriptor:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)

    def digest(self) -> str:
        """Return the SHA-256 of the whole file, read in pieces."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_READ_SIZE))
        try:
            fault("blob.reading")
            while size := os.readv(self.number, [buffer]):
                digest.update(buffer[:size])
        except OSError as error:
            raise disk_failure(error, f"Reading the stored file {self._place}") from error
        return digest.hexdigest()

    def read_all(self) -> bytes:
        """Return the whole file."""
        try:
            with open(self.number, "rb", closefd=False) as file:
                return file.read()
        except OSError as error:
            raise disk_failure(error, f"Reading the stored file {self._place}") from error


def _signature(place: Path) -> Signature | None:
    """Return the signature of a regular file; None if there is none."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_failure(error, f"Looking for the stored file {place}") from error
    return Signature.of(status) if stat.S_ISREG(status.st_mode) else None
