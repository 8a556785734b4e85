"""The server's data folder: what lies where in it, and that one server at a time uses it.

records.sqlite   projects, keys, deployments, versions
memory.sqlite    what processing functions saved
blobs/           model files and functions, named by their SHA-256
scratch/         working folders of the workers; the engine empties it when it starts
lock             held while a server runs; its text is that server's process id
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from penstock.core.errors import StoreError


class DataFolder:
    """An open, locked data folder. Use as a context manager.

    Args:
        root: The folder; it is created when missing, readable for its owner only.

    Raises:
        StoreError: Another server uses the folder, or it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"The data folder {root} cannot be used: {error.strerror}.",
                hint="Name another folder with --data or PENSTOCK_DATA_DIR.",
            ) from None
        try:
            self._take_lock()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._lock, 32).decode("ascii", "replace").strip() or "unknown"
            raise StoreError(
                f"Another Penstock server uses the data folder {self.root} (process {holder}).",
                hint="Stop it first, or name another folder with --data.",
                pid=holder,
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode("ascii"), 0)

    @property
    def records(self) -> Path:
        """Path of the records' database file."""
        return self.root / "records.sqlite"

    @property
    def memory(self) -> Path:
        """Path of the memory's database file."""
        return self.root / "memory.sqlite"

    @property
    def blobs(self) -> Path:
        """Folder of the blobs."""
        return self.root / "blobs"

    @property
    def scratch(self) -> Path:
        """Folder of the workers' working folders."""
        return self.root / "scratch"

    def close(self) -> None:
        """Let another server use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()
