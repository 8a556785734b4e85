"""`penstock.start()`: find a local server, or start one, for a notebook or a script.

The server is a process of its own. It outlives the cell that started it and ends with this Python
process, or at `stop()`.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from penstock.client.config import (
    Target,
    profile_path,
    read_profile,
    resolve,
    resolve_server,
    set_process_default,
    write_profile,
)
from penstock.client.session import Session
from penstock.core.errors import ClientError, NoKey, PenstockError

#: Seconds a server gets to become ready, and to stop.
READY_S = 60.0
STOP_S = 40.0

#: What a started server prints, in a folder of its own.
LOG = "server.log"

#: What the `[server]` extra brings; one of these missing means that it is not installed.
_SERVER_MODULES = ("starlette", "uvicorn", "sqlalchemy", "typer", "httptools")

_READY = re.compile(r"ready at (https?://\S+)")


class LocalServer:
    """A server on this machine that this process uses by default.

    Attributes:
        url: Its address.
    """

    def __init__(
        self, url: str, process: subprocess.Popen[bytes] | None = None, folder: Path | None = None
    ) -> None:
        self.url = url
        self._process = process
        self._folder = folder

    def __repr__(self) -> str:
        how = "found" if self._process is None else f"started, pid {self._process.pid}"
        return f"LocalServer({self.url!r}, {how})"

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What the server printed so far; empty for a server that was found, not started."""
        if self._folder is None or not (self._folder / LOG).exists():
            return ""
        return (self._folder / LOG).read_text("utf-8", "replace")

    @property
    def alive(self) -> bool:
        """Whether the server that was started here still runs (True for one that was found)."""
        return self._process is None or self._process.poll() is None

    def stop(self) -> None:
        """Let the server finish its calls and end; a server that was found is left running."""
        set_process_default(None, None)
        if self._process is not None and self._folder is not None:
            _end(self._process, self._folder)
        for key in [k for k, server in _started.items() if server is self]:
            del _started[key]


_started: dict[tuple[str | None, int | None], LocalServer] = {}


def start(data: str | os.PathLike[str] | None = None, port: int | None = None) -> LocalServer:
    """Return a local server, starting one if need be, and make it this process's default.

    Without arguments, a server that answers at the usual address and knows the usual key is used
    as it is, and so is one that another notebook of yours started. A second call with the same
    arguments returns the server of the first.

    Args:
        data: Folder for the server's data; `penstock serve` chooses when missing.
        port: Port to listen on; a free one when missing.

    Raises:
        ClientError: The server cannot be started; the message has its last lines.
    """
    key = (None if data is None else os.fspath(Path(data).absolute()), port)
    running = _started.get(key)
    if running is not None and running.alive:
        return running
    server = _find() if key == (None, None) else None
    if server is None:
        server = _start(key[0], port)
    _started[key] = server
    return server


def _find() -> LocalServer | None:
    """Return the usual server, or another notebook's, if it answers and knows the key."""
    for target in _candidates():
        if _answers(target):
            set_process_default(target.server, target.api_key)
            return LocalServer(target.server)
    return None


def _candidates() -> Iterator[Target]:
    with suppress(NoKey):
        yield resolve()
    noted = read_profile(_note_path())
    if noted.server and noted.api_key:
        yield Target(server=noted.server, api_key=noted.api_key)


def _note_path() -> Path:
    """Where a started server is noted, beside the profile, which stays as the user left it."""
    return profile_path().with_name("started.json")


def _start(data: str | None, port: int | None) -> LocalServer:
    missing = [name for name in _SERVER_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ClientError(
            f"No server answers at {resolve_server()}, and none can be started here: "
            f"not installed: {', '.join(missing)}.",
            hint='Run: pip install "penstock[server]"',
        )
    admin_key = os.environ.get("PENSTOCK_ADMIN_KEY") or _new_key()
    folder = Path(tempfile.mkdtemp(prefix="penstock-server-"))
    process = _spawn(data, port, admin_key, folder)
    atexit.register(_end_at_exit, process, folder, os.getpid())
    try:
        url = _wait_ready(process, folder / LOG, admin_key)
    except BaseException:
        _end(process, folder)
        raise
    set_process_default(url, admin_key)
    if data is None:
        write_profile(server=url, api_key=admin_key, path=_note_path())
    return LocalServer(url, process, folder)


def _new_key() -> str:
    return f"pk_a_{secrets.token_hex(4)}_{secrets.token_urlsafe(24)}"


def _spawn(
    data: str | None, port: int | None, admin_key: str, folder: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "penstock.client.attend", "serve", "--port", str(port or 0)]
    if data is not None:
        command += ["--data", data]
    # The key goes through the environment: a command line can be read by everybody on the machine.
    # A server of its own profile leaves the user's as it is.
    environment = {
        **os.environ,
        "PENSTOCK_ADMIN_KEY": admin_key,
        "PENSTOCK_PROFILE": str(folder / "profile.json"),
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / LOG).open("wb") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # interrupting a cell must not interrupt the server
        )


def _wait_ready(process: subprocess.Popen[bytes], log: Path, admin_key: str) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _not_started(f"it ended with status {process.returncode}", log)
        found = _READY.search(log.read_text("utf-8", "replace"))
        if found and _answers(Target(server=found[1], api_key=admin_key)):
            return found[1]
        time.sleep(0.02)
    raise _not_started(f"it was not ready after {READY_S:g} s", log)


def _answers(target: Target) -> bool:
    session = Session(target)
    try:
        session.get("/v1/whoami")
    except PenstockError:
        return False
    finally:
        session.close()
    return True


def _not_started(why: str, log: Path) -> ClientError:
    lines = log.read_text("utf-8", "replace").splitlines()
    facts: dict[str, Any] = {"logs": lines} if lines else {}
    return ClientError(
        f"The local server did not start: {why}.",
        hint="Run `penstock serve` in a terminal to see more.",
        **facts,
    )


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Ask the process to end, insist after `STOP_S`, and remove what it left in `folder`."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)


def _end_at_exit(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    """End the process unless this is a forked copy of the Python process that started it."""
    if os.getpid() == owner:
        _end(process, folder)
