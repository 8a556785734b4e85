"""Inputs and results of runs: small ones in the run's row, large ones in the blob store.

Called by `runs` and `run_executor`. A large payload is durable before the row that names it, and
its age protects it until then (`BlobStore.collect`). Disk work happens in worker threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os

from penstock.codec import memfile
from penstock.codec.frames import INLINE_LIMIT
from penstock.codec.headers import split_parameters
from penstock.core.errors import StoreError
from penstock.core.run_records import Payload
from penstock.engine.base import Body
from penstock.stores.base import BlobStore

#: Payloads up to this many bytes are kept in the run's row.
INLINE_BYTES = 64 * 1024

_PIECE = 1024 * 1024


class RunPayloads:
    """Keeps payloads and gives them back.

    Args:
        blobs: Where large ones are.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def keep(self, data: bytes | memoryview) -> Payload:
        """Make `data` durable if it is large; return what the row holds. Raises `StoreError`."""
        if len(data) <= INLINE_BYTES:
            return Payload(bytes(data), None, len(data))
        sha256 = await asyncio.to_thread(self._write, data)
        return Payload(None, sha256, len(data))

    def _write(self, data: bytes | memoryview) -> str:
        view = memoryview(data)
        sha256 = hashlib.sha256(view).hexdigest()
        # Asking first keeps a file that is there already from being collected meanwhile.
        if self._blobs.has(sha256):
            return sha256
        writer = self._blobs.begin(sha256)
        try:
            for start in range(0, len(view), _PIECE):
                writer.write(bytes(view[start : start + _PIECE]))
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        return sha256

    async def read(self, payload: Payload) -> bytes:
        """Return a payload's bytes.

        Raises:
            BlobMissing: Its file is gone.
            BlobCorrupt: Its file has changed on the disk.
        """
        if payload.sha256 is None:
            return payload.inline or b""
        return await asyncio.to_thread(self._blobs.read, payload.sha256)

    async def body(self, payload: Payload) -> Body:
        """Return a payload as the body of a call: in a memory file if it is large.

        Raises:
            BlobMissing: Its file is gone.
            BlobCorrupt: Its file has changed on the disk.
            StoreError: The system has no room for the memory file just now.
        """
        data = await self.read(payload)
        if len(data) <= INLINE_LIMIT:
            return Body(data)
        try:
            fd, size = await asyncio.to_thread(memfile.create, [data])
        except OSError as error:
            raise StoreError(f"A run's input cannot be handed over: {error.strerror}.") from error
        return Body(None, fd, size)


def take(body: Body) -> bytes | memoryview:
    """Return the bytes of a request's body; its descriptor, if any, is closed."""
    if body.data is not None:
        return body.data
    fd, body.fd = body.fd, -1
    try:
        return memfile.read(fd, body.size, trusted=True)
    finally:
        os.close(fd)


def discard(body: Body) -> None:
    """Close the descriptor of a body that is not used, if it has one."""
    if body.fd >= 0:
        os.close(body.fd)
        body.fd = -1


def request_digest(media_type: str, data: bytes | memoryview) -> bytes:
    """Return the SHA-256 by which two requests count as the same.

    The boundary of a multipart body is left out: encoders make it up anew each time.
    """
    kind, parameters = split_parameters(media_type)
    digest = hashlib.sha256(kind.encode("utf-8", "replace") + b"\0")
    boundary = parameters.get("boundary", "").encode("utf-8", "replace")
    if kind != "multipart/form-data" or not boundary:
        digest.update(data)
        return digest.digest()
    for piece in bytes(data).split(boundary):
        digest.update(b"%d:" % len(piece))
        digest.update(piece)
    return digest.digest()
