"""Sessions of the pages that were signed out of, in a file: they stay ended over a restart.

One line each: when the session would have ended (seconds since the epoch), and the SHA-256 of its
cookie's text. What is past that time is left out when the file is opened. Made in wiring for
`penstock.dashboard.sessions`; used from the event loop, as a line is written without waiting for
the disk.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.stores.failures import disk_failure

#: Most sessions that are remembered; what would end first is forgotten first.
MOST = 100_000


class EndedSessions:
    """The sessions that were signed out of before their time.

    Args:
        path: The file, in the locked data folder; made at the first sign-out.
        now: Seconds since the epoch.

    Raises:
        StoreError: The file cannot be read or written.
    """

    def __init__(self, path: Path, now: float) -> None:
        self._path = path
        try:
            text = path.read_text("ascii", "replace") if path.exists() else ""
            self._ended = _read(text, now)
            if text:
                self._write_all()
        except OSError as error:
            raise StoreError(f"{path} cannot be used: {error.strerror}.") from None

    def __contains__(self, said: str) -> bool:
        """Whether a session was signed out of."""
        return _mark(said) in self._ended

    def add(self, said: str, ends_at: int) -> None:
        """Remember that a session was signed out of.

        Args:
            said: The text of its cookie that is signed.
            ends_at: When it would have ended (seconds since the epoch).

        Raises:
            StoreError: The file cannot be written. The session is ended all the same, until the
                server stops.
        """
        mark = _mark(said)
        self._ended[mark] = ends_at
        try:
            if len(self._ended) > MOST:
                by_end = sorted(self._ended.items(), key=lambda item: item[1])
                self._ended = dict(by_end[MOST // 10 :])
                self._write_all()
            else:
                self._append(mark, ends_at)
        except OSError as error:
            raise disk_failure(error, f"Writing {self._path.name}") from error

    def _append(self, mark: str, ends_at: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            os.write(fd, f"{ends_at} {mark}\n".encode())
        finally:
            os.close(fd)

    def _write_all(self) -> None:
        unfinished = self._path.with_name(self._path.name + ".new")
        unfinished.unlink(missing_ok=True)
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.writelines(f"{ends_at} {mark}\n" for mark, ends_at in self._ended.items())
        unfinished.replace(self._path)


def _mark(said: str) -> str:
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def _read(text: str, now: float) -> dict[str, int]:
    """Return the sessions of a file that would go on; a line cut short by a crash is none."""
    found = {}
    for line in text.splitlines():
        ends_at, _, mark = line.partition(" ")
        if ends_at.isdecimal() and len(mark) == 64 and int(ends_at) >= now:
            found[mark] = int(ends_at)
    return found
