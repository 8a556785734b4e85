"""Answers whatever workers ask on their memory sockets. The engine is given its `answer`."""

from __future__ import annotations

from penstock.codec.memory import AskSecrets, Upload, WorkerAnswer, WorkerRequest
from penstock.control.memory import Memory
from penstock.control.secrets import Secrets
from penstock.control.uploads import Uploads
from penstock.engine.base import VersionKey


class WorkerRequests:
    """Sends each request to the use case it is about.

    Args:
        memory: Names and values.
        uploads: Files.
        secrets: Secrets.
    """

    def __init__(self, memory: Memory, uploads: Uploads, secrets: Secrets) -> None:
        self._memory = memory
        self._uploads = uploads
        self._secrets = secrets

    async def answer(self, key: VersionKey, request: WorkerRequest) -> WorkerAnswer:
        """Answer a worker of version `key`. May raise `PenstockError`, which the worker gets."""
        if isinstance(request, Upload):
            return await self._uploads.answer(key, request)
        if isinstance(request, AskSecrets):
            return await self._secrets.answer(key)
        return await self._memory.answer(key, request)
