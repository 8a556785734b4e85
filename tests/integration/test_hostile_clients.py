"""Clients that hold on or send too much: each is cut off in time, and the others do not notice.

Run with `-s` to see the figures.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import deploy, model_type

MIB = 1 << 20

#: Slow connections at the same time, and the seconds they get.
SLOW = 1000
DEADLINE_S = 4.0

#: Milliseconds that a call may take anyway on a machine that is busy with other tests.
BUSY_MS = 250.0

#: Of these, those that read nothing of an answer, and its size: more than the kernel takes.
UNREAD, ANSWER = 20, 8 * MIB


def same(value: Any) -> Any:
    return value


def long_answer(data: Any) -> Any:
    return ["x" * data[0]] if isinstance(data[0], int) and data[0] > 1000 else data


@pytest.fixture
def echo(start_server: Any) -> Any:
    live = start_server(
        header_timeout_s=DEADLINE_S, body_timeout_s=DEADLINE_S, unread_timeout_s=DEADLINE_S,
        max_body_bytes=8 * MIB,
    )  # fmt: skip
    flow = [(model_type.PYTHON, same, {"pre": long_answer})]
    deploy(flow, "echo", live.keys["deploy"], server=live.url, quiet=True)
    return live


def address(live: Any) -> tuple[str, int]:
    host, _, port = live.url.removeprefix("http://").partition(":")
    return host, int(port)


def head(live: Any, *fields: str) -> bytes:
    lines = ["POST /v1/default/echo/predict HTTP/1.1", "Host: localhost"]
    lines += [f"Authorization: {live.keys['predict']}", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


class Slow:
    """Connections that send or read next to nothing, and when each of them was closed."""

    def __init__(self, live: Any) -> None:
        self._selector = selectors.DefaultSelector()
        self._unread = Unread(live)
        self.took: dict[str, list[float]] = {"no byte of an answer read": self._unread.took}
        self.answers: Counter[bytes] = Counter()
        body = head(live, "Content-Length: 1000")
        kinds = {
            "no bytes of a head": b"G",
            "half a head": body[:60],
            "head that trickles": body[:-20],
            "no bytes of a body": body,
            "body that trickles": body + b"[1,",
        }
        for number in range(SLOW - UNREAD):
            kind = list(kinds)[number % len(kinds)]
            known = (kind, time.monotonic(), [time.monotonic()])
            sock = socket.create_connection(address(live))
            sock.sendall(kinds[kind])
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, known)

    @property
    def left(self) -> int:
        return len(self._selector.get_map()) + self._unread.left

    def look(self, seconds: float) -> None:
        self._unread.look()
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
        self._unread.close()
        for found in list(self._selector.get_map().values()):
            found.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


class Unread:
    """Connections whose client reads nothing of an answer that is more than the kernel takes."""

    def __init__(self, live: Any) -> None:
        order = b"[%d]" % ANSWER
        self.took: list[float] = []
        self._poll = select.poll()
        self._open: dict[int, list[Any]] = {}  # the connection, and since when it has an answer
        for _ in range(UNREAD):
            sock = socket.create_connection(address(live))
            sock.sendall(head(live, f"Content-Length: {len(order)}") + order)
            self._poll.register(sock, select.POLLIN)
            self._open[sock.fileno()] = [sock, 0.0]

    @property
    def left(self) -> int:
        return len(self._open)

    def look(self) -> None:
        for number, events in self._poll.poll(0):
            sock, begun = self._open[number]
            if events == select.POLLIN:  # the answer begins; from now on only its end counts
                self._open[number][1] = time.monotonic()
                self._poll.modify(sock, 0)
                continue
            self.took.append(time.monotonic() - begun)
            self._poll.unregister(sock)
            del self._open[number]
            sock.close()

    def close(self) -> None:
        for sock, _ in self._open.values():
            sock.close()


class Calls(threading.Thread):
    """Calls one after the other while something else goes on; what each took, in milliseconds."""

    def __init__(self, live: Any) -> None:
        super().__init__(daemon=True)
        self._line = httpx2.Client(
            base_url=live.url, headers={"Authorization": live.keys["predict"]}, timeout=60
        )
        self._ended = threading.Event()
        self.took: list[float] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(0.005):
            begun = time.perf_counter()
            answer = self._line.post("/v1/default/echo/predict", json=[len(self.took) % 1000])
            self.took.append((time.perf_counter() - begun) * 1e3)
            if answer.status_code != 200:
                self.wrong.append(answer.text)

    def __enter__(self) -> Calls:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        self._line.close()

    def worst(self) -> tuple[float, float]:
        """Return the median, and what 99 of 100 stay below."""
        return statistics.median(self.took), sorted(self.took)[int(len(self.took) * 0.99) - 1]


def test_a_thousand_slow_connections_are_closed_in_time_and_calls_go_on(echo: Any) -> None:
    with Calls(echo) as alone:
        end = time.monotonic() + 60
        while len(alone.took) < 200 and time.monotonic() < end:
            time.sleep(0.05)
    slow = Slow(echo)
    with Calls(echo) as beside, contextlib.closing(slow):
        looked, late = [time.monotonic()], 0.0
        while slow.left and looked[-1] < looked[0] + 60:
            slow.look(0.05)
            looked.append(time.monotonic())
            late = max(late, looked[-1] - looked[-2])
        assert slow.left == 0, f"{slow.left} connections are still open"
    for kind, took in slow.took.items():
        print(f"\n{len(took)} x {kind}: closed after {min(took):.1f} to {max(took):.1f} s", end="")
    print(f"\nanswers {dict(slow.answers)}; calls took (median, p99) ", end="")
    print(f"{alone.worst()} then {beside.worst()} ms, the longest {max(beside.took):.0f} ms")
    assert (alone.wrong, beside.wrong) == ([], [])
    assert len(beside.took) > 100
    assert sum(map(len, slow.took.values())) == SLOW
    # A machine that is busy with other things is late by as much as a call and a look here are.
    allowed = 1.0 + max(beside.took) / 1e3 + late
    for kind, took in slow.took.items():
        assert max(took) <= DEADLINE_S + allowed, kind
        assert min(took) >= DEADLINE_S - allowed, kind
    assert beside.worst()[1] <= max(2 * alone.worst()[1], BUSY_MS)
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
