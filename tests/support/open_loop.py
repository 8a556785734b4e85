"""An open-loop load: requests leave at a fixed rate, whatever becomes of those before them.

A closed loop waits for a slow server and so hides that it was slow. Here every request has a time
at which it is due, and its latency counts from then. Used by the fault tests and by
`benchmarks/overload.py`. Raw HTTP/1.1 on kept-alive connections; nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

#: Seconds after which a request counts as failed.
PATIENCE_S = 30.0


class Sample(NamedTuple):
    """One request. `status` 0: the connection failed; `body` is then what went wrong.

    `due` is seconds since the load began; `took_s` counts from then to the whole answer.
    """

    due: float
    took_s: float
    status: int
    body: bytes
    retry_after: str = ""


@dataclass
class Outcome:
    """What a load measured."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def failed(self) -> list[Sample]:
        """Samples that are not 200."""
        return [s for s in self.samples if s.status != 200]

    def statuses(self) -> dict[int, int]:
        """Return how many samples have each status."""
        return dict(Counter(s.status for s in self.samples))

    def percentile(self, share: float, status: int = 200) -> float:
        """Return the latency in seconds that `share` of the samples with `status` stay below."""
        took = sorted(s.took_s for s in self.samples if s.status == status)
        return took[min(len(took) - 1, int(share * len(took)))] if took else float("nan")

    def between(self, begin: float, end: float) -> Outcome:
        """Return the samples that were due in a span of seconds."""
        return Outcome([s for s in self.samples if begin <= s.due < end])


class _Connections:
    """Kept-alive connections to one server; made as they are needed."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> tuple[int, bytes, str]:
        """Send a request and return status, body and `Retry-After`."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = _fields(head)
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        except BaseException:
            writer.close()
            raise
        if fields.get(b"connection", b"").lower() == b"close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[9:12]), body, fields.get(b"retry-after", b"").decode()

    async def close(self) -> None:
        for _reader, writer in self._idle:
            writer.close()
        self._idle.clear()


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def request_bytes(url: str, key: str, body: bytes) -> bytes:
    """Return a predict request with a JSON body."""
    parts = urlsplit(url)
    return (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(
    url: str,
    key: str,
    rate: float,
    until: Callable[[float], bool],
    body: Callable[[int], bytes] = lambda _: b"[[1.0]]",
    outcome: Outcome | None = None,
) -> Outcome:
    """Send requests at a fixed rate and return what came of every one of them.

    Args:
        url: Address of the predict call.
        key: The API key.
        rate: Requests a second.
        until: Told the seconds since the load began; true ends it.
        body: Body of the request with a number.
        outcome: Where samples are put as they come; a new one by default.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    connections = _Connections(parts.hostname, parts.port)
    found = outcome if outcome is not None else Outcome()
    flying: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()

    async def one(number: int, due: float) -> None:
        request = request_bytes(url, key, body(number))
        try:
            status, answer, retry = await asyncio.wait_for(connections.ask(request), PATIENCE_S)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            status, answer, retry = 0, repr(error).encode(), ""
        took = time.perf_counter() - begun - due
        found.samples.append(Sample(due, took, status, answer, retry))

    number = 0
    while not until(now := time.perf_counter() - begun):
        while number / rate <= now:
            task = asyncio.create_task(one(number, number / rate))
            flying.add(task)
            task.add_done_callback(flying.discard)
            number += 1
        await asyncio.sleep(max(0.0, number / rate - (time.perf_counter() - begun)))
    if flying:
        await asyncio.wait(flying)
    await connections.close()
    found.samples.sort()
    return found


async def closed_loop(
    url: str, key: str, clients: int, seconds: float, body: bytes = b"[[1.0]]"
) -> float:
    """Return the good answers a second that clients get who each wait for the answer before."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    connections = _Connections(parts.hostname, parts.port)
    request, end = request_bytes(url, key, body), time.perf_counter() + seconds

    async def client() -> int:
        done = 0
        while time.perf_counter() < end:
            status, _answer, _retry = await connections.ask(request)
            done += status == 200
        return done

    counts = await asyncio.gather(*(client() for _ in range(clients)))
    await connections.close()
    return sum(counts) / seconds


class Background:
    """A load in a thread of its own, for as long as a `with` block runs.

    Attributes:
        outcome: The samples; complete when the block is left.
    """

    def __init__(
        self,
        url: str,
        key: str,
        rate: float,
        body: Callable[[int], bytes] = lambda _: b"[[1.0]]",
    ) -> None:
        self.outcome = Outcome()
        self._stop = threading.Event()
        self._work = drive(url, key, rate, lambda _: self._stop.is_set(), body, self.outcome)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work), daemon=True)

    def __enter__(self) -> Outcome:
        self._thread.start()
        return self.outcome

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
