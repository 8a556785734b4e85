"""Files that processing functions hand out: stored, linked to, served, and cleared away in time.

`answer` serves the workers' `upload`; the file routes use the rest. A worker passes an open
descriptor and is not trusted with it: only a regular file is read, up to the limit, and what is
served later are the server's own copies, named by their SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.codec.memory import Upload, Uploaded
from penstock.control.database import Database
from penstock.control.file_links import FileLinks, offered_name
from penstock.core.delivery_records import UploadRecord
from penstock.core.errors import (
    BlobCorrupt,
    BlobMissing,
    FileQuotaExceeded,
    Forbidden,
    Gone,
    NotFound,
    StoreError,
    UploadFailed,
)
from penstock.engine.base import VersionKey
from penstock.stores.base import BlobStore

_PIECE_BYTES = 1024 * 1024

#: Seconds a stored file without an entry is kept: its entry may be about to be written.
UNUSED_S = 3600.0


@dataclass(frozen=True)
class UploadLimits:
    """What uploads may take: seconds and bytes."""

    ttl_s: float = 86400.0
    max_ttl_s: float = 7 * 86400.0
    file_bytes: int = 1024**3
    total_bytes: int = 10 * 1024**3


class Uploads:
    """The uploaded files of all projects. Every method runs on the event loop.

    Args:
        database: Where the list of files is.
        store: Where the files are; used for nothing else.
        links: Makes and checks addresses.
        limits: What a file and a project may take.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        links: FileLinks,
        limits: UploadLimits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._list = database.records.uploads
        self._store = store
        self._links = links
        self._limits = limits or UploadLimits()
        self._now = now

    async def answer(self, key: VersionKey, request: Upload) -> Uploaded:
        """Store what a worker of version `key` uploads. The descriptor stays the caller's.

        Raises:
            UploadFailed: It is no regular file, changed while it was read, or is to be kept for no
                time.
            FileQuotaExceeded: It is too large, or the project has no room for it.
        """
        name = offered_name(request.name)
        if request.ttl_s is not None and not request.ttl_s > 0:  # also what is no number
            raise UploadFailed(f"upload({name!r}): it cannot be kept for {request.ttl_s} s.")
        size = _size(request.fd, name)
        await self._check_room(key.project, name, size)
        sha256 = await asyncio.to_thread(self._keep, request.fd, name, size)
        now = self._now()
        ttl_s = min(request.ttl_s or self._limits.ttl_s, self._limits.max_ttl_s)
        upload = UploadRecord(
            file_id=f"file_{secrets.token_hex(16)}",
            project=key.project,
            deployment=key.deployment,
            name=name,
            sha256=sha256,
            size=size,
            created_at=now,
            expires_at=now + ttl_s,
        )
        await self._database.call(self._list.add, upload, self._limits.total_bytes)
        return Uploaded(self._links.link(upload))

    async def _check_room(self, project: str, name: str, size: int) -> None:
        """Refuse before a byte is copied; the list checks again when the file is added."""
        limits = self._limits
        if size > limits.file_bytes:
            raise FileQuotaExceeded(
                f"upload({name!r}): the file has {size} bytes; one file may have "
                f"{limits.file_bytes}.",
                hint="Make it smaller, or raise the server's setting file_bytes.",
            )
        used = await self._database.call(self._list.used_bytes, project, self._now())
        if used + size > limits.total_bytes:
            raise FileQuotaExceeded(
                f"upload({name!r}): the files of project {project!r} have {used} bytes; {size} "
                f"more do not fit into the {limits.total_bytes} bytes they may have.",
                hint=f"Delete some at /v1/{project}/files, give them a shorter ttl, or raise the "
                "server's setting files_total_bytes.",
            )

    def _keep(self, fd: int, name: str, size: int) -> str:
        """Copy a file into the store, unless it is there; return its SHA-256."""
        sha256 = hashlib.sha256()
        for piece in _pieces(fd, name, size):
            sha256.update(piece)
        found = sha256.hexdigest()
        if self._store.has(found):
            return found
        writer = self._store.begin(found)
        try:
            for piece in _pieces(fd, name, size):
                writer.write(piece)
            writer.commit()
        except BlobCorrupt:
            raise _changed(name) from None
        finally:
            writer.abort()
        return found

    # --- people and receivers of links ---

    async def open(
        self, project: str, file_id: str, name: str, expires: str, signature: str
    ) -> tuple[UploadRecord, Path]:
        """Return a file and where to read it, for an address that was handed out.

        Raises:
            Forbidden: The address was not made by this server, or was changed.
            Gone: It expired, or the file was deleted.
            StoreError: The stored file is damaged.
        """
        if not self._links.is_signed(project, file_id, name, expires, signature):
            raise Forbidden(
                "The signature does not fit this address.",
                hint="Use the address exactly as upload returned it.",
            )
        if int(expires) <= self._now():
            raise Gone(f"The address of {name!r} has expired.")
        upload = await self._database.call(self._list.get, project, file_id)
        if upload is None:
            raise Gone(f"The file {name!r} was deleted.")
        try:
            return upload, await asyncio.to_thread(self._store.path, upload.sha256)
        except (BlobCorrupt, BlobMissing):
            raise StoreError(
                f"The stored file {name!r} ({file_id}) is damaged or lost.",
                hint="Check the disk of the server; run the flow again to upload it anew.",
            ) from None

    async def list(self, project: str) -> Sequence[tuple[UploadRecord, str]]:
        """Return a project's files that are not expired, newest first, with their addresses."""
        found = await self._database.call(self._list.list, project, self._now())
        return [(upload, self._links.link(upload)) for upload in found]

    async def delete(self, project: str, file_id: str) -> None:
        """Delete a file; its address answers 410 from now on. Raises `NotFound`."""
        if not await self._database.call(self._list.delete, project, file_id):
            raise NotFound(f"There is no file {file_id[:80]!r} in project {project!r}.")

    async def purge(self) -> int:
        """Clear away what has expired or was deleted; return the bytes freed."""
        started = self._now()
        await self._database.call(self._list.purge, started)
        used = await self._database.call(self._list.hashes)
        return await asyncio.to_thread(self._store.collect, frozenset(used), started - UNUSED_S)


def _size(fd: int, name: str) -> int:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise UploadFailed(f"upload({name!r}): it is not a regular file.")
    return found.st_size


def _pieces(fd: int, name: str, size: int) -> Iterator[bytes]:
    """Yield exactly `size` bytes of a file from its beginning; its own position stays."""
    at = 0
    while at < size:
        piece = os.pread(fd, min(_PIECE_BYTES, size - at), at)
        if not piece:
            raise _changed(name)
        at += len(piece)
        yield piece


def _changed(name: str) -> UploadFailed:
    return UploadFailed(
        f"upload({name!r}): the file changed while it was uploaded.",
        hint="Close the file before uploading it.",
    )
