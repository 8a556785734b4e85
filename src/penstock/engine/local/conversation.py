"""The worker's end of the memory socket: a request, its answer, then the next request.

User code may be left anywhere by an exception: what the handler of a signal raises comes between
two steps of Python, also while an answer is awaited. Nobody may get that answer instead of their
own, so what is left of a request is brought to its end before the next one is sent.
"""

from __future__ import annotations

import array
import os
import socket
import threading
from itertools import chain, islice

from penstock.codec.memory import REQUEST_LIMIT, Upload, WorkerAnswer, WorkerRequest
from penstock.codec.worker_messages import pack_message, unpack_message
from penstock.core.errors import MemoryQuotaExceeded

#: Bytes that are received at once: more than most answers have, and at most.
_USUAL, _MOST = 64 * 1024, 1024 * 1024

_SIZE_BYTES = 4


class Conversation:
    """Requests and answers in step. The server is believed: an answer is as long as it says."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(True)
        self._lock = threading.Lock()
        self._open: _Exchange | None = None

    def ask(self, request: WorkerRequest) -> WorkerAnswer:
        """Send a request to the server and wait for its answer; safe from any thread.

        Raises:
            MemoryQuotaExceeded: The request has more bytes than the server takes.
        """
        data = _packed(request)
        fds = [request.fd] if isinstance(request, Upload) else []
        with self._lock:
            owed = self._open
            if owed is not None and owed.began:
                owed.finish()  # whoever wanted this answer is gone
            self._open = exchange = _Exchange(self._sock, data, fds)
            said = exchange.finish()
            self._open = None
        answer: WorkerAnswer = unpack_message(said, WorkerAnswer)
        return answer


class _Exchange:
    """One request and what has come of its answer.

    `finish` may be left by an exception and called again. For this each system call notes its own
    outcome: `extend(map(...))` is one step, after which the outcome is there or nothing was done.
    """

    def __init__(self, sock: socket.socket, data: bytes, fds: list[int]) -> None:
        self._sock = sock
        self._data = memoryview(data)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self._rights = [rights] if fds else []
        self._sent: list[int] = []
        self._come: list[bytes] = []

    @property
    def began(self) -> bool:
        """Whether the server has some of the request."""
        return bool(self._sent)

    def finish(self) -> memoryview:
        """Send what was not sent yet, and return the answer when all of it has come."""
        while (at := sum(self._sent)) < len(self._data):
            rights = [] if at else self._rights
            self._sent.extend(map(self._sock.sendmsg, ([self._data[at:]],), (rights,)))
        while missing := self._missing():
            self._come.extend(map(self._sock.recv, (missing,)))
            if not self._come[-1]:
                os._exit(0)  # the server is gone
        return memoryview(b"".join(self._come))[_SIZE_BYTES:]

    def _missing(self) -> int:
        """Return how many bytes to receive next; 0 when the answer is whole."""
        size = bytes(islice(chain.from_iterable(self._come), _SIZE_BYTES))
        if len(size) < _SIZE_BYTES:
            return _USUAL
        whole = _SIZE_BYTES + int.from_bytes(size, "little")
        return max(0, min(_MOST, whole - sum(map(len, self._come))))


def _packed(request: WorkerRequest) -> bytes:
    data = pack_message(request)
    if len(data) - _SIZE_BYTES > REQUEST_LIMIT:
        raise MemoryQuotaExceeded(
            f"A request of {len(data)} bytes to the server's memory; it takes {REQUEST_LIMIT}.",
            hint="Save something smaller, and use shorter names.",
        )
    return data
