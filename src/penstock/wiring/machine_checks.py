"""Examines the machine that a server runs on: SQLite, the kernel, the interpreter, libraries.

Called by `penstock.cli.doctor`.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator

from penstock.codec import frames
from penstock.core.findings import Finding, ok, problem, warning
from penstock.engine.sandbox import bubblewrap, landlock, seccomp
from penstock.environments.describe import describe

#: SQLite before these has a rare race between a writer and a checkpointer of one WAL file.
_WAL_FIXED = (3, 51, 3)
_WAL_FIXED_BRANCHES = {(3, 44): 6, (3, 50): 7}

#: Distributions that load models, as `pip` names them.
_FRAMEWORKS = ("torch", "xgboost", "xgboost-cpu", "scikit-learn", "onnxruntime", "numpy", "pillow")


def examine_machine() -> Iterator[Finding]:
    """Yield what there is to say about this machine and this Python."""
    yield _sqlite()
    if sys.platform != "linux":
        yield warning(
            "platform",
            f"{platform.system()} is for development: workers are spawned, slowly, and are not "
            "tied to the server by the kernel.",
            "Serve on Linux.",
        )
        return
    yield from _kernel()
    yield _python()
    yield _hot_path()
    yield _frameworks()


def _sqlite() -> Finding:
    found = sqlite3.sqlite_version_info
    fixed = found >= _WAL_FIXED or found[2] >= _WAL_FIXED_BRANCHES.get(found[:2], 1 << 30)
    text = f"SQLite {sqlite3.sqlite_version}"
    if fixed:
        return ok("sqlite", f"{text} has no known fault that concerns us.")
    return warning(
        "sqlite",
        f"{text} has a rare race between connections of one file. Penstock is not concerned: it "
        "opens each file by exactly one connection.",
        "Open the files with no other program while a server runs. SQLite 3.51.3 has the fix.",
    )


def _kernel() -> Iterator[Finding]:
    checks = (
        ("memfd", _has_memfd, "Large bodies travel to workers without a copy."),
        ("pidfd", _has_pidfd, "Workers are watched and killed without mistaking one for another."),
    )
    for name, has, what in checks:
        if has():
            yield ok("kernel", f"{name} works. {what}")
        else:
            yield problem("kernel", f"{name} does not work here.", "Use Linux 5.3 or newer.")
    yield from _sandbox()


def _sandbox() -> Iterator[Finding]:
    found = landlock.version()
    if found and seccomp.available():
        yield ok("sandbox", f"Workers can be guarded: Landlock (version {found}) and seccomp work.")
    else:
        yield warning(
            "sandbox",
            "No sandbox: workers are processes like any other, and what is deployed can read and "
            "write all that the server can.",
            "Linux 5.13 or newer with Landlock and seccomp has one.",
        )
    why_not = bubblewrap.obstacle()
    if why_not:
        yield ok("sandbox", f"The tier isolated is not there: {why_not}")
    else:
        yield ok("sandbox", "Workers can be isolated: bubblewrap works.")


def _has_memfd() -> bool:
    try:
        os.close(os.memfd_create("penstock-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    except (OSError, AttributeError):
        return False
    return True


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def _python() -> Finding:
    return ok("python", f"{platform.python_implementation()} {platform.python_version()}.")


def _hot_path() -> Finding:
    if frames.__file__.endswith(".py"):
        text = (
            "interpreted. A wheel that was built with `make wheel` has it compiled, and is faster."
        )
        return ok("hot path", f"The hot path is {text}")
    return ok("hot path", "The hot path is compiled.")


def _frameworks() -> Finding:
    packages = describe().packages
    found = [f"{name} {packages[name]}" for name in _FRAMEWORKS if name in packages]
    if found:
        return ok("libraries", f"Installed: {', '.join(found)}.")
    return warning(
        "libraries",
        "No library that loads models is installed: only functions can be served.",
        'Install what your models need, for example pip install "penstock[torch]".',
    )
