"""Answers whatever workers ask on their memory sockets. The engine is given its `answer`."""

from __future__ import annotations

from penstock.codec.memory import Upload, WorkerAnswer, WorkerRequest
from penstock.control.memory import Memory
from penstock.control.uploads import Uploads
from penstock.engine.base import VersionKey


class WorkerRequests:
    """Sends each request to the use case it is about.

    Args:
        memory: Names and values.
        uploads: Files.
    """

    def __init__(self, memory: Memory, uploads: Uploads) -> None:
        self._memory = memory
        self._uploads = uploads

    async def answer(self, key: VersionKey, request: WorkerRequest) -> WorkerAnswer:
        """Answer a worker of version `key`. May raise `PenstockError`, which the worker gets."""
        if isinstance(request, Upload):
            return await self._uploads.answer(key, request)
        return await self._memory.answer(key, request)
