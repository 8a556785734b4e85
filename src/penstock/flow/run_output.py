"""What functions print and log, marked with the run that said it.

`install` is called once in a worker that serves. Only code that runs inside a watched function has
a run (`context.CURRENT`); a function that is proven to compute only prints nothing and pays
nothing. Each line leaves with one write, so lines of threads do not mix.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from typing import TextIO

from penstock.codec.log_lines import MAX_TEXT_BYTES, head_of
from penstock.flow.context import CURRENT, Run

#: Unfinished lines that are remembered, at most.
_UNFINISHED = 64


class RunStream(io.TextIOBase):
    """A text stream that marks the lines of runs.

    Args:
        plain: Takes what no run says.
        fd: Where marked lines go.
        level: What lines are called: `print` or `stderr`.
    """

    def __init__(self, plain: TextIO, fd: int, level: str) -> None:
        self._plain = plain
        self._fd = fd
        self._level = level
        self._lock = threading.Lock()
        self._begun: dict[Run, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._plain.encoding

    @property
    def buffer(self) -> object:
        """The bytes stream below; what is written there is not marked."""
        return self._plain.buffer

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether a person watches."""
        return False

    def write(self, text: str) -> int:
        """Write text; the lines of a run leave when they are whole."""
        run = CURRENT.get()
        if run is None:
            return self._plain.write(text)
        with self._lock:
            whole, end, rest = (self._begun.pop(run, "") + text).rpartition("\n")
            if end:
                write_lines(self._fd, run, self._level, whole)
            if rest:
                self._remember(run, rest)
        return len(text)

    def _remember(self, run: Run, rest: str) -> None:
        if len(rest) > MAX_TEXT_BYTES or len(self._begun) >= _UNFINISHED:
            for other, begun in [*self._begun.items(), (run, rest)]:
                write_lines(self._fd, other, self._level, begun)
            self._begun.clear()
        else:
            self._begun[run] = rest

    def flush(self) -> None:
        """Let unfinished lines leave, too."""
        if self._begun:
            with self._lock:
                for run, begun in self._begun.items():
                    write_lines(self._fd, run, self._level, begun)
                self._begun.clear()
        self._plain.flush()


class RunHandler(logging.Handler):
    """Writes log records; those of a run marked with it.

    Args:
        fd: Where lines go.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        run = CURRENT.get()
        try:
            text = self.format(record)
            if run is None:
                line = f"{record.levelname} {record.name}: {text}\n"
                os.write(self._fd, line.encode("utf-8", "backslashreplace"))
            else:
                write_lines(self._fd, run, record.levelname.replace(" ", "_"), text)
        except Exception:  # noqa: BLE001 - `logging` has its own way to tell of it
            self.handleError(record)


def write_lines(fd: int, run: Run, level: str, text: str) -> None:
    """Write the lines of `text`, each marked with the run and where it is."""
    stage, function = run.at
    head = head_of(run.id, time.time(), int(stage), function, level)
    for line in text.split("\n"):
        body = line.rstrip("\r").encode("utf-8", "backslashreplace")[:MAX_TEXT_BYTES]
        os.write(fd, b"%b%b\n" % (head, body))


def install() -> None:
    """Mark what functions print to the standard streams and log, from now on.

    `logging` gets a handler for everything from INFO on; `logging.basicConfig` in user code then
    changes nothing, as everywhere where the surroundings have set logging up.
    """
    for name, level in (("stdout", "print"), ("stderr", "stderr")):
        stream = getattr(sys, name)
        if not isinstance(stream, RunStream):
            setattr(sys, name, RunStream(stream, stream.fileno(), level))
    root = logging.getLogger()
    root.handlers = [RunHandler(sys.stderr.fileno())]
    root.setLevel(logging.INFO)
