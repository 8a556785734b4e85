"""Uploads of bundle files, and collecting those that nothing uses any more.

Called by the blob routes and by wiring's housekeeping. Hashing and disk work happen in worker
threads, one bounded piece at a time, so a large or slow upload holds neither the event loop nor
much memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from penstock.codec.bundle import read_manifest
from penstock.control.database import Database
from penstock.control.storage import Storage, storage_full
from penstock.core.errors import BodyTooLarge
from penstock.stores.base import BlobStore, BlobWriter

#: Bytes gathered before a thread writes them. Small network chunks are not worth a thread each.
PIECE_BYTES = 1024 * 1024

#: Seconds an unused blob is kept: the deploy that sent it may not have made its version yet.
UNUSED_S = 3600.0


class Blobs:
    """The files of bundles, named by SHA-256 and shared by all projects.

    Args:
        store: Where the files are.
        database: Where the manifests are.
        storage: Says how much a project may still upload.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self,
        store: BlobStore,
        database: Database,
        storage: Storage,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._store = store
        self._database = database
        self._now = now

    async def missing(self, sha256s: Sequence[str]) -> list[str]:
        """Return those the server does not have, in the order given. Raises `InvalidName`."""
        return await asyncio.to_thread(self._store.missing, sha256s)

    async def put(self, project: str, sha256: str, chunks: AsyncIterator[bytes], limit: int) -> int:
        """Store one file as its bytes come in; return its size in bytes.

        Nothing is kept when this raises or is cancelled.

        Args:
            project: Who uploads it.
            sha256: The announced name.
            chunks: The bytes, in pieces of any size.
            limit: Most bytes to take.

        Raises:
            InvalidName: `sha256` is not a SHA-256.
            BodyTooLarge: There are more than `limit` bytes.
            StorageFull: The project has no room for it.
            BlobCorrupt: The bytes have another SHA-256.
            StoreError: The disk failed.
        """
        room = await self._storage.room(project, sha256)
        writer = self._store.begin(sha256)
        written = 0
        try:
            async for piece in _pieces(sha256, chunks, limit):
                written += len(piece)
                if room is not None and written > room:
                    raise storage_full(project, self._storage.limit_bytes)
                await asyncio.to_thread(writer.write, piece)
            size = await asyncio.to_thread(writer.commit)
            self._storage.uploaded(project, sha256, size)
            return size
        except BaseException:
            await _abort(writer)
            raise

    async def collect(self) -> int:
        """Delete files older than an hour that no version and no run uses; return bytes freed.

        Raises:
            InvalidManifest: A stored manifest cannot be read. Nothing is deleted then.
        """
        started = self._now()
        records = self._database.records
        manifests = await self._database.call(lambda: list(records.manifests()))
        payloads = await self._database.call(records.runs.blobs)
        return await asyncio.to_thread(self._collect, manifests, payloads, started - UNUSED_S)

    def _collect(self, manifests: list[bytes], payloads: Sequence[str], older_than: float) -> int:
        used = frozenset(name for raw in manifests for name in read_manifest(raw).blobs())
        return self._store.collect(used.union(payloads), older_than)


async def _pieces(sha256: str, chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Yield the bytes of `chunks` in pieces of about `PIECE_BYTES`, up to `limit` in all."""
    gathered = bytearray()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(
                f"The file {sha256} has more than {limit} bytes.",
                hint="Use a smaller file, or raise the server's limit of one file.",
                limit_bytes=limit,
            )
        gathered += chunk
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _abort(writer: BlobWriter) -> None:
    # Shielded: a second cancellation must not leave the temporary file behind.
    await asyncio.shield(asyncio.to_thread(writer.abort))
