"""What workers print: the last lines of a pool, read without ever hurting the server.

A worker that prints a gigabyte is slowed down by its pipe, not the server: each turn of the loop
reads at most 64 KiB, and no more than a set number of bytes a second, nor for longer than a quarter
of the time. Lines are cut at 8 KiB, 200 of them are kept, 256 KiB at most.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable

from penstock.codec.log_lines import Said, read_line
from penstock.core.redaction import Redactor

MAX_LINES = 200
MAX_LINE_BYTES = 8 * 1024
MAX_BYTES = 256 * 1024

_READ = 64 * 1024
_PAUSE_S = 0.05

#: Processor seconds that the lines of one pool may take of each such pause.
_SHARE_S = _PAUSE_S / 4

OnLine = Callable[[str], None]
OnSaid = Callable[[list[Said]], None]


class LogTail:
    """The last lines of a pool's workers, oldest first.

    Args:
        on_line: Gets the text of every line.
        on_said: Gets every line with the run that said it.
    """

    def __init__(self, on_line: OnLine | None = None, on_said: OnSaid | None = None) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._on_line = on_line
        self._on_said = on_said
        self._hidden = Redactor()
        self._since = 0.0
        self._spent_s = 0.0

    def has_time(self, now: float) -> bool:
        """Whether more lines may be added at this time of the loop."""
        if now - self._since > _PAUSE_S:
            self._since, self._spent_s = now, 0.0
        return self._spent_s < _SHARE_S

    def hide(self, secrets: Iterable[str]) -> None:
        """Keep these secrets out of the lines from now on; API keys never get in."""
        self._hidden.add(secrets)

    def add(self, lines: list[bytes]) -> None:
        """Keep lines, each cut to 8 KiB; the oldest go when there are too many."""
        began = time.thread_time()
        self._add(lines)
        self._spent_s += time.thread_time() - began

    def _add(self, lines: list[bytes]) -> None:
        said = [read_line(self._cut(line)) for line in lines]
        self._lines.extend(line.text for line in said)
        size = sum(map(len, self._lines))
        while size > MAX_BYTES:
            size -= len(self._lines.popleft())
        if self._on_said is not None:
            self._on_said(said)
        if self._on_line is not None:
            for line in said:
                self._on_line(line.text)

    def _cut(self, line: bytes) -> bytes:
        shown = self._hidden.cut(line, MAX_LINE_BYTES)
        return shown if len(line) <= MAX_LINE_BYTES else shown + _MORE

    def lines(self) -> list[str]:
        """Return the lines."""
        return list(self._lines)


_MORE = "…".encode()


class LogPipe:
    """Reads one worker's output into a `LogTail`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, tail: LogTail, bytes_per_s: int
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._tail = tail
        self._rest = b""
        self._per_pause = int(bytes_per_s * _PAUSE_S)
        self._allowed = self._per_pause
        self._since = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(fd, self._read)

    def print_to(self, tail: LogTail) -> None:
        """Have what is read from now on go to `tail`."""
        self._tail = tail

    def close(self) -> None:
        """Read what is there already, then stop."""
        if self._fd < 0:
            return
        try:
            for _ in range(MAX_BYTES // _READ):
                if not self._take():
                    break
        except BlockingIOError:
            pass
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._rest:
            self._tail.add([self._rest])

    def _read(self) -> None:
        now = self._loop.time()
        if now - self._since > _PAUSE_S:
            self._since, self._allowed = now, self._per_pause
        if self._allowed <= 0 or not self._tail.has_time(now):
            self._loop.remove_reader(self._fd)
            self._timer = self._loop.call_later(_PAUSE_S, self._go_on)
            return
        try:
            if not self._take():
                self._stop()
        except BlockingIOError:
            return

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._fd, self._read)

    def _take(self) -> bool:
        """Read once; False at the end of the pipe."""
        data = os.read(self._fd, _READ)
        self._allowed -= len(data)
        # Of a flood only the last lines can be kept: splitting the others would be wasted work.
        *lines, rest = (self._rest + data).rsplit(b"\n", MAX_LINES + 1)
        self._rest = rest[: MAX_LINE_BYTES + 1]
        if lines:
            self._tail.add(lines[-MAX_LINES:])
        return bool(data)
