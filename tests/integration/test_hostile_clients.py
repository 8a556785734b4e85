"""Clients that hold on or send too much: each is cut off in time, and the others do not notice.

Run with `-s` to see the figures.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import deploy, model_type

#: Slow connections at the same time, and the seconds they get.
SLOW = 1000
DEADLINE_S = 4.0

MIB = 1 << 20


def same(value: Any) -> Any:
    return value


@pytest.fixture
def echo(start_server: Any) -> Any:
    live = start_server(
        header_timeout_s=DEADLINE_S, body_timeout_s=DEADLINE_S, max_body_bytes=8 * MIB
    )
    deploy([(model_type.PYTHON, same)], "echo", live.keys["deploy"], server=live.url, quiet=True)
    return live


def address(live: Any) -> tuple[str, int]:
    host, _, port = live.url.removeprefix("http://").partition(":")
    return host, int(port)


def head(live: Any, *fields: str) -> bytes:
    lines = ["POST /v1/default/echo/predict HTTP/1.1", "Host: localhost"]
    lines += [f"Authorization: {live.keys['predict']}", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


class Slow:
    """Connections that send next to nothing, and when each of them was closed."""

    def __init__(self, live: Any) -> None:
        self._selector = selectors.DefaultSelector()
        self.took: dict[str, list[float]] = {}
        self.answers: Counter[bytes] = Counter()
        body = head(live, "Content-Length: 1000")
        kinds = {
            "no bytes of a head": b"G",
            "half a head": body[:60],
            "head that trickles": body[:-20],
            "no bytes of a body": body,
            "body that trickles": body + b"[1,",
        }
        for number in range(SLOW):
            kind = list(kinds)[number % len(kinds)]
            sock = socket.create_connection(address(live))
            sock.sendall(kinds[kind])
            sock.setblocking(False)
            known = (kind, time.monotonic(), [time.monotonic()])
            self._selector.register(sock, selectors.EVENT_READ, known)

    @property
    def left(self) -> int:
        return len(self._selector.get_map())

    def look(self, seconds: float) -> None:
        for found, _ in self._selector.select(seconds):
            self._read(found)
        now = time.monotonic()
        for found in list(self._selector.get_map().values()):
            if "trickles" in found.data[0] and now - found.data[2][0] > 0.5:
                found.data[2][0] = now
                with contextlib.suppress(OSError):
                    found.fileobj.send(b"a")  # type: ignore[union-attr]

    def _read(self, found: selectors.SelectorKey) -> None:
        sock: Any = found.fileobj
        kind, begun, _ = found.data
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(65536)
        if data:
            self.answers[data[9:12]] += 1
            return
        self.took.setdefault(kind, []).append(time.monotonic() - begun)
        self._selector.unregister(sock)
        sock.close()

    def close(self) -> None:
        for found in list(self._selector.get_map().values()):
            found.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def worst(client: httpx2.Client, calls: int) -> tuple[float, float]:
    """Return the median of so many calls, and what 99 of 100 stay below, in milliseconds."""
    took = []
    for number in range(calls):
        begun = time.perf_counter()
        assert client.post("/v1/default/echo/predict", json=[number]).json()["result"] == [number]
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took), sorted(took)[int(calls * 0.99) - 1]


def test_a_thousand_slow_connections_are_closed_in_time_and_calls_go_on(echo: Any) -> None:
    headers = {"Authorization": echo.keys["predict"]}
    with httpx2.Client(base_url=echo.url, headers=headers, timeout=30) as client:
        worst(client, 100)
        before = worst(client, 400)
        slow = Slow(echo)
        try:
            during = worst(client, 400)
            end = time.monotonic() + 60
            while slow.left and time.monotonic() < end:
                slow.look(0.1)
            assert slow.left == 0, f"{slow.left} connections are still open"
        finally:
            slow.close()
    for kind, took in slow.took.items():
        print(f"\n{len(took)} x {kind}: closed after {min(took):.1f} to {max(took):.1f} s", end="")
    print(f"\nanswers {dict(slow.answers)}; calls took (median, p99) {before} then {during} ms")
    assert sum(map(len, slow.took.values())) == SLOW
    longest = max(max(took) for took in slow.took.values())
    # The figures are for reading: the machine that runs the tests may be busy with other things.
    assert longest <= 60
    assert set(slow.answers) <= {b"408"}


def memory(pid: int) -> int:
    """Return the most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def offer(live: Any, start: bytes, piece: bytes, most: int) -> tuple[int, bytes]:
    """Send `piece` again and again until there is an answer; return bytes sent and the answer."""
    sent, answer, left = 0, b"", piece
    with socket.create_connection(address(live), timeout=30) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sock.sendall(start)
        sock.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while sent < most:
                [(_, ready)] = selector.select(30)
                try:
                    if ready & selectors.EVENT_READ:
                        answer = sock.recv(65536)
                        break
                    done = sock.send(left)
                    sent, left = sent + done, left[done:] or piece
                except BlockingIOError:
                    continue
                except OSError:
                    break
    return sent, answer


def test_bodies_that_are_too_large_are_refused_early_and_cost_no_memory(echo: Any) -> None:
    limit, rounds = 8 * MIB, 12
    block = b"x" * 65536
    chunk = b"10000\r\n" + block + b"\r\n"
    offer(echo, head(echo, "Transfer-Encoding: chunked"), chunk, 200 * MIB)
    before = memory(echo.pid)
    seen = {}
    for _ in range(rounds):
        for kind, fields, piece in (
            ("declared", (f"Content-Length: {10 << 30}",), block),
            ("chunked", ("Transfer-Encoding: chunked",), chunk),
        ):
            sent, answer = offer(echo, head(echo, *fields), piece, 200 * MIB)
            assert answer[9:12] == b"413", answer
            seen[kind] = max(seen.get(kind, 0), sent)
        # A length that is not kept: the client goes away.
        sent, answer = offer(echo, head(echo, f"Content-Length: {limit}"), block, MIB)
        assert answer == b""
    grown = memory(echo.pid) - before
    print(f"\nsent before the refusal: {seen}; memory grew by {grown / MIB:.1f} MiB")
    # What lies in the sockets of both ends comes on top; the kernel lets it grow to some MiB.
    assert seen["declared"] <= 64 * 1024 + 8 * MIB
    assert seen["chunked"] <= limit + 64 * 1024 + 8 * MIB
    assert grown <= 8 * MIB
