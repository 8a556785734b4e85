"""bubblewrap: a worker in namespaces of its own, for the tier isolated.

The worker sees an empty file system with its interpreter, the system's libraries, its version's
files and its own folder in it; no process but its own; no network where the deployment has none.
Inside it confines itself like any guarded worker.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock.codec.sandbox import Sandbox
from penstock.engine.sandbox import places
from penstock.engine.sandbox.landlock import DEVICE

#: Seconds that the first try may take.
_TRY_S = 10.0

#: The parent of the worker inside: bubblewrap's own first process.
PARENT_INSIDE = 1


@functools.lru_cache(maxsize=1)
def obstacle() -> str:
    """Return why bubblewrap cannot be used here, as a sentence; empty if it can."""
    if sys.platform != "linux":
        return f"bubblewrap is not for {sys.platform}."
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed (its program is bwrap)."
    command = [
        program,
        *_namespaces("none"),
        "--ro-bind",
        "/",
        "/",
        "--",
        "/bin/sh",
        "-c",
        "exit 0",
    ]
    try:
        tried = subprocess.run(
            command, capture_output=True, timeout=_TRY_S, env={}, check=False, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap does not work here: {error}."
    said = tried.stderr.strip().splitlines()
    return (
        f"bubblewrap does not work here: {said[-1] if said else 'no reason given'}"
        if (tried.returncode)
        else ""
    )


def wrap(command: Iterable[str], sandbox: Sandbox, artifacts: Iterable[str]) -> list[str]:
    """Return the command that runs `command` in namespaces of its own.

    bubblewrap itself must be started with an environment that may be seen: the worker can read it.
    """
    program = shutil.which("bwrap") or "bwrap"
    out = [program, *_namespaces(sandbox.network), "--proc", "/proc", "--dev", "/dev"]
    out += ["--tmpfs", "/tmp", "--tmpfs", "/dev/shm"]  # noqa: S108 - the worker's own, not ours
    for path, rights in places.readable():
        if path == "/proc":
            continue
        out += _bind("--dev-bind-try" if rights & DEVICE == DEVICE else "--ro-bind-try", path)
    for path in (*sandbox.read, *artifacts):
        out += _bind("--ro-bind-try", path)
    for path in (sandbox.home, *sandbox.write):
        out += _bind("--bind", path)
    return [*out, "--chdir", sandbox.home, "--", *command]


def _namespaces(network: str) -> list[str]:
    shared = [] if network == "none" else ["--share-net"]
    return ["--unshare-all", *shared, "--die-with-parent", "--new-session"]


def _bind(how: str, path: str) -> list[str]:
    """Return arguments that show `path` at its own place; a link shows what it leads to."""
    source = os.path.realpath(path)
    if Path(path).is_symlink() and Path(path).is_dir():
        return ["--symlink", os.readlink(path), path]
    return [how, source, path]
