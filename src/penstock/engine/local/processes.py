"""Starts child processes of the server: zygotes and spawned workers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from penstock.core.errors import EngineError
from penstock.engine.local.child_env import child_environment


def start_process(
    command: list[str],
    fds: tuple[int, ...],
    folder: Path,
    output: int,
    python: Path | None = None,
    *,
    own_session: bool = True,
) -> int:
    """Start a child with only `fds` open, and return its process id.

    Without a session of its own it is no engine's: none ends it with what workers left behind.

    `python` is the interpreter of the child's virtual environment, if it has one of its own.

    Raises:
        EngineError: It cannot be started.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=fds,
            cwd=folder,
            env=child_environment(os.environ, python),
            start_new_session=own_session,
        )
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be started: {error}.") from None
    # The caller follows and reaps the process; without a code Popen would warn that nobody does.
    process.returncode = 0
    return process.pid
