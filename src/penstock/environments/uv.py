"""Runs uv, which resolves and installs: its lines as they come, its failures in its own words.

The binary comes with the `uv` distribution. Its own configuration files are not read, so that the
same settings give the same environment on every machine; its environment variables are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.core.errors import EnvironmentFailed
from penstock.environments.sources import Sources

#: Called with each line that is worth showing.
Say = Callable[[str], None]

#: Lines of a failed command that are kept.
KEPT_LINES = 200

#: Variables of this process that a package's build must not see, or that would mislead uv.
_HIDDEN = ("PENSTOCK_", "PIP_", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT")

_PASSWORD = re.compile(r"(://)[^/\s@]+@")


class UvFailed(Exception):
    """uv ended with an error. `lines` are its last lines."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


class Uv:
    """uv with the server's sources and cache. Safe to use from several threads.

    Args:
        sources: Where packages come from.
        cache: uv's cache, best on the same disk as the environments.
        timeout_s: Seconds that one command may take.
    """

    def __init__(self, sources: Sources, cache: Path, timeout_s: float) -> None:
        self.sources = sources
        self._cache = cache
        self._timeout_s = timeout_s
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(
        self,
        arguments: Sequence[str],
        say: Say,
        *,
        resolves: bool = True,
        folders: Sequence[Path] = (),
    ) -> None:
        """Run `uv <arguments>`.

        Args:
            arguments: Command and options.
            say: Called with each line that uv prints.
            resolves: Whether the command takes packages from somewhere.
            folders: Folders with wheels, besides those of the sources.

        Raises:
            UvFailed: It ended with an error.
            EnvironmentFailed: There is no uv, it took too long, or `stop` was called.
        """
        extra = self.sources.arguments() if resolves else []
        command = [binary(), *arguments, *extra, *self._common()]
        kept: deque[str] = deque(maxlen=KEPT_LINES)
        process = self._start(command, folders)
        timer = threading.Timer(self._timeout_s, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                text = _PASSWORD.sub(r"\1****@", line.rstrip())
                kept.append(text)
                if text.strip() and not text.startswith("Using Python"):
                    say(text)
            status = process.wait()
        finally:
            late = not timer.is_alive()
            timer.cancel()
            self._end(process)
        if self._stopped:
            raise EnvironmentFailed("The server is stopping; the environment was not built.")
        if late:
            raise EnvironmentFailed(
                f"Building the environment took longer than {self._timeout_s:g} s.",
                hint="Deploy again: what was downloaded is kept. The limit is the setting "
                "package_timeout_s.",
                logs=list(kept),
            )
        if status:
            raise UvFailed(list(kept))

    def _common(self) -> list[str]:
        return ["--no-config", "--no-python-downloads", "--no-progress", "--color", "never",
                "--cache-dir", str(self._cache)]  # fmt: skip

    def _start(self, command: list[str], folders: Sequence[Path]) -> subprocess.Popen[str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith(_HIDDEN)}
        own.update(self.sources.variables())
        if folders:  # an option would hide the variable
            places = [own.get("UV_FIND_LINKS", ""), *map(str, folders)]
            own["UV_FIND_LINKS"] = ",".join(filter(None, places))
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=own,
            start_new_session=True,
        )
        self._running.add(process)
        if self._stopped:
            process.kill()
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._running.discard(process)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def stop(self) -> None:
        """End what is running, and let nothing run any more."""
        self._stopped = True
        for process in tuple(self._running):
            process.kill()


def binary() -> str:
    """Return the path of uv.

    Raises:
        EnvironmentFailed: It is not installed.
    """
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise EnvironmentFailed(
            "uv, which builds environments, is not installed beside the server.",
            hint='Run: pip install "penstock[server]" in the server\'s environment.',
        )
    return found


def version() -> str:
    """Return uv's version, or what is wrong with it."""
    try:
        done = subprocess.run(
            [binary(), "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (EnvironmentFailed, OSError, subprocess.SubprocessError) as error:
        return f"unusable: {error}"
    return done.stdout.split()[1]
