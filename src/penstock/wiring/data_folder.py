"""The server's data folder: what lies where in it, and that one server at a time uses it.

records.sqlite   projects, keys, deployments, versions
records.database where those are instead, when they are in PostgreSQL
folder.id        what the records call this folder
insight.sqlite   calls that were kept, logs, figures over time
memory.sqlite    what processing functions saved
blobs/           model files and functions, named by their SHA-256
files/           files that processing functions uploaded, named by their SHA-256
predictions/     the local prediction log, by project, deployment and day
files.key        what the addresses of those files are signed with
environments/    the interpreters' environments of versions, and what they were built from
builds/          what happened while each version was deployed
secrets.keys     what secrets are encrypted with, unless a setting names another place
sessions.ended   sessions of the pages that were signed out of before their time
scratch/         working folders of the workers; the engine empties it when it starts
lock             held while a server runs; its text is that server's process id
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.server.load_settings import load_settings

_SECRET_BYTES = 32

#: What other users may go through or read, by its own permissions.
SHARED = frozenset({"scratch", "environments"})


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
    def elsewhere(self) -> Path:
        """File that says where the records are when they are not in this folder."""
        return self.root / "records.database"

    @property
    def id_file(self) -> Path:
        """File with the id that the folder's records know it by."""
        return self.root / "folder.id"

    @property
    def memory(self) -> Path:
        """Path of the memory's database file."""
        return self.root / "memory.sqlite"

    @property
    def insight(self) -> Path:
        """Path of the database file of kept calls, logs and figures."""
        return self.root / "insight.sqlite"

    @property
    def blobs(self) -> Path:
        """Folder of the blobs."""
        return self.root / "blobs"

    @property
    def builds(self) -> Path:
        """Folder of the logs of deploys."""
        return self.root / "builds"

    @property
    def scratch(self) -> Path:
        """Folder of the workers' working folders."""
        return self.root / "scratch"

    @property
    def files(self) -> Path:
        """Folder of the files that processing functions uploaded."""
        return self.root / "files"

    @property
    def environments(self) -> Path:
        """Folder of the environments that versions have for themselves."""
        return self.root / "environments"

    @property
    def secret_keys(self) -> Path:
        """File of the keys that secrets are encrypted with."""
        return self.root / "secrets.keys"

    @property
    def sessions(self) -> Path:
        """File of the pages' sessions that were signed out of."""
        return self.root / "sessions.ended"

    @property
    def predictions(self) -> Path:
        """Folder of the local prediction log."""
        return self.root / "predictions"

    def file_secret(self) -> bytes:
        """Return the key of the addresses of uploaded files, made at the first call: 32 bytes.

        Raises:
            StoreError: It cannot be read or written.
        """
        path = self.root / "files.key"
        try:
            if not path.exists():
                self._write_private(path, secrets.token_bytes(_SECRET_BYTES))
            found = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be used: {error.strerror}.") from None
        if len(found) != _SECRET_BYTES:
            raise StoreError(
                f"{path} is damaged.",
                hint="Delete it: a new one is made, and addresses handed out before end.",
            )
        return found

    @staticmethod
    def _write_private(path: Path, secret: bytes) -> None:
        """Write the file whole or not at all; the folder's lock keeps other servers away."""
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, secret)
            os.fsync(fd)
        finally:
            os.close(fd)
        unfinished.replace(path)

    def known_id(self) -> str | None:
        """Return the id that the folder's records know it by; None before they gave one.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            return self.id_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.id_file} cannot be read: {error}.") from None

    def note_id(self, folder_id: str) -> None:
        """Keep the id that the folder's records know it by.

        Raises:
            StoreError: It cannot be written.
        """
        try:
            self._write_private(self.id_file, f"{folder_id}\n".encode())
        except OSError as error:
            raise StoreError(f"{self.id_file} cannot be written: {error.strerror}.") from None

    def note_elsewhere(self, where: str) -> None:
        """Note that the records are not in this folder.

        Raises:
            StoreError: It cannot be written.
        """
        try:
            self.elsewhere.touch(mode=0o600)
            self.elsewhere.write_text(f"{where}\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{self.elsewhere} cannot be written: {error.strerror}.") from None

    def let_workers_through(self) -> None:
        """Let other users reach `scratch`, and nothing else of the folder.

        For workers with users of their own; they can list nothing and read no file here.
        """
        for entry in self.root.iterdir():
            if entry.name not in SHARED and not entry.is_symlink():
                entry.chmod(entry.stat().st_mode & 0o700)
        self.root.chmod(0o711)

    def close(self) -> None:
        """Let another server use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


def default_folder() -> Path:
    """Return the data folder that `penstock serve` uses when none is named."""
    return load_settings().data_dir
