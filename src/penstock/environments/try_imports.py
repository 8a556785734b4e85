"""Imports in a finished environment what the functions of a flow import, and says what fails.

A library may be installed and still not work: it needs another that it does not declare, or was
made for an older one. That shows here, at deploy, with what to do, and not as a stack trace of the
first request. What is imported is code of the user's choice: it is confined like a worker, and not
believed. Called by `penstock.environments.builder`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

#: Seconds that all imports together may take; what takes longer is not judged.
_PATIENCE_S = 120.0

#: What the process may say, in bytes.
_MOST_BYTES = 256 * 1024

#: Returns the command that runs another one confined: given that command, the folder that it may
#: write to, and the folders that it may run programs of.
Guard = Callable[[Sequence[str], Path, Sequence[str]], Sequence[str]]

_PROGRAM = """
import importlib, json, os, sys, traceback
names, out = json.loads(sys.argv[2]), os.dup(1)
sys.path.insert(0, sys.argv[1])
os.dup2(2, 1)
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        told = {"module": name, "type": type(error).__name__, "text": str(error)[:2000],
                "missing": getattr(error, "name", None),
                "traceback": traceback.format_exc()[-8000:]}
        os.write(out, json.dumps(told).encode())
        os._exit(0)
os._exit(0)
"""

_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_PASSED_ON = ("LANG", "LD_LIBRARY_PATH", "PATH", "USER")


class ImportFailure(NamedTuple):
    """A module that cannot be imported.

    Attributes:
        module: Its dotted name, one of those asked for.
        type: Name of the exception's class.
        text: The exception's text.
        missing: Top-level module that was not found, if that was it.
        traceback: Where it failed.
    """

    module: str
    type: str
    text: str
    missing: str | None
    traceback: str


class _Told(msgspec.Struct):
    module: str
    type: str
    text: str
    traceback: str
    missing: str | None = None


def try_imports(
    python: Path, runtime: Path, modules: Sequence[str], folder: Path, guard: Guard
) -> ImportFailure | None:
    """Return the first of `modules` that cannot be imported, or None.

    Args:
        python: Executable of the environment.
        runtime: Folder with the copy of Penstock.
        modules: Dotted names.
        folder: Working folder of the process, its own.
        guard: Confines the process.
    """
    if not modules:
        return None
    program = [str(python), "-I", "-c", _PROGRAM, str(runtime), json.dumps(list(modules))]
    places = (python.parents[1], python.resolve().parents[1], runtime)
    try:
        status, said = _run(guard(program, folder, [str(place) for place in places]), folder)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if status < 0:
        text = f"importing {', '.join(modules)} ended the process with signal {-status}"
        return ImportFailure(modules[0], "Crash", text, None, "")
    return _failure(said, modules)


def _run(command: Sequence[str], folder: Path) -> tuple[int, bytes]:
    """Return the exit status and what was written; nothing of its session is left.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It took too long, or said too much.
    """
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    own = {"HOME": str(folder), "TMPDIR": str(folder), **_SINGLE_THREADED}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**kept, **own},
        start_new_session=True,
    )
    until = time.monotonic() + _PATIENCE_S
    with process:
        assert process.stdout is not None
        try:
            said = _read(process.stdout.fileno(), until)
            return process.wait(max(0.0, until - time.monotonic())), said
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            with suppress(ProcessLookupError):  # what it started may still be there
                os.killpg(process.pid, signal.SIGKILL)


def _read(fd: int, until: float) -> bytes:
    said = bytearray()
    while len(said) <= _MOST_BYTES and _readable(fd, until - time.monotonic()):
        piece = os.read(fd, 65536)
        if not piece:
            return bytes(said)
        said += piece
    raise subprocess.TimeoutExpired("import", _PATIENCE_S)


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()  # select itself takes no number above 1023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1e3))


def _failure(said: bytes, modules: Sequence[str]) -> ImportFailure | None:
    try:
        told = msgspec.json.decode(said, type=_Told)
    except msgspec.MsgspecError:
        return None
    if told.module not in modules:
        return None
    missing = told.missing if told.type == "ModuleNotFoundError" else None
    top = missing.partition(".")[0] if missing else None
    return ImportFailure(told.module, told.type, told.text, top, told.traceback)
