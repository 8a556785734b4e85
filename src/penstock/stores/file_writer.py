"""Writes one blob to a temporary file and hands it over when it is whole; made by `FileBlobs`."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from penstock.core.errors import BlobCorrupt
from penstock.core.faults import fault
from penstock.stores.failures import disk_failure

#: Takes (sha256, temporary file, its descriptor) when the file is complete and on the disk.
Keep = Callable[[str, Path, int], None]


class FileBlobWriter:
    """Writes one blob. See `BlobWriter` for what each method promises.

    Args:
        sha256: The announced hash.
        folder: Where the temporary file is made; on the same file system as the blobs.
        keep: Gives the finished file its place.
    """

    def __init__(self, sha256: str, folder: Path, keep: Keep) -> None:
        self._sha256 = sha256
        self._temporary = folder / f"{sha256[:16]}-{secrets.token_hex(8)}"
        self._keep = keep
        self._hash = hashlib.sha256()
        self._size = 0
        self._descriptor = -1
        self._ended = False
        # An upload that is cancelled aborts while its last write still runs in a thread.
        self._lock = threading.Lock()

    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises `StoreError` if the disk does; bytes after `abort` are dropped."""
        with self._lock:
            if self._ended:
                return
            try:
                self._open()
                fault("blob.writing")
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                self._end(discard=True)
                raise disk_failure(error, f"Writing the file {self._sha256}") from error
            self._hash.update(chunk)
            self._size += len(chunk)

    def commit(self) -> int:
        """Check the hash, make the blob durable and visible; return its size.

        Raises `BlobCorrupt` if the bytes do not have the announced SHA-256, or if the writer was
        aborted; nothing is kept then.
        """
        with self._lock:
            found = self._hash.hexdigest()
            if self._ended or found != self._sha256:
                self._end(discard=True)
                raise BlobCorrupt(
                    f"The {self._size} bytes received have the SHA-256 {found}, not the announced "
                    f"{self._sha256}.",
                    hint="Send the file again; it changed or was cut off on the way.",
                )
            try:
                self._open()
                os.fchmod(self._descriptor, 0o444)
                fault("blob.syncing")
                os.fsync(self._descriptor)
                self._keep(self._sha256, self._temporary, self._descriptor)
                fault("blob.committed")
            except OSError as error:
                self._end(discard=True)
                raise disk_failure(error, f"Storing the file {self._sha256}") from error
            self._end(discard=False)
            return self._size

    def abort(self) -> None:
        """Give up; nothing is kept. Safe to call after `commit`."""
        with self._lock:
            if not self._ended:
                self._end(discard=True)

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._temporary, flags, 0o600)

    def _end(self, *, discard: bool) -> None:
        self._ended = True
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if discard:
            self._temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
