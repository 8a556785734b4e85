"""Imports in a finished environment what the functions of a flow import, and says what fails.

A library may be installed and still not work: it needs another that it does not declare, or was
made for an older one. That shows here, at deploy, with what to do, and not as a stack trace of the
first request. Called by `penstock.environments.builder`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: Seconds that all imports together may take; what takes longer is not judged.
_PATIENCE_S = 120.0

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

_PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "USER")


class ImportFailure(NamedTuple):
    """A module that cannot be imported.

    Attributes:
        module: Its dotted name.
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


def try_imports(
    python: Path, runtime: Path, modules: Sequence[str], folder: Path
) -> ImportFailure | None:
    """Return the first of `modules` that cannot be imported, or None.

    Args:
        python: Executable of the environment.
        runtime: Folder with the copy of Penstock.
        modules: Dotted names.
        folder: Working folder of the process.
    """
    if not modules:
        return None
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _PROGRAM, str(runtime), json.dumps(list(modules))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            cwd=folder,
            env={**kept, **_SINGLE_THREADED},
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode < 0:
        text = f"importing {', '.join(modules)} ended the process with signal {-done.returncode}"
        return ImportFailure(modules[0], "Crash", text, None, "")
    if not done.stdout:
        return None
    told = json.loads(done.stdout)
    missing = told["missing"] if told["type"] == "ModuleNotFoundError" else None
    return ImportFailure(
        told["module"],
        told["type"],
        told["text"],
        missing.partition(".")[0] if missing else None,
        told["traceback"],
    )
