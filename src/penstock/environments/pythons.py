"""Which Python interpreters a server has for its environments.

The server's own is always the first. Others are looked for where people keep them: beside its own
installation, under pyenv, among those that uv installed, on `PATH`; or they are named by the
setting `pythons`. Every candidate is run once and asked what it is. Called by
`penstock.control.environments` when the server starts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from penstock.core.errors import InvalidSetting
from penstock.core.interpreter import Interpreter

#: Minor versions of Python 3 that Penstock's worker runs on.
MINORS = tuple(range(10, 16))

#: Seconds an interpreter may take to say what it is.
_PATIENCE_S = 20.0

_ASK = """
import importlib.util, json, platform, sys
print(json.dumps([sys.implementation.name, platform.python_version(),
    importlib.util.MAGIC_NUMBER.hex(), sys.platform + "-" + platform.machine(),
    sys.implementation.cache_tag, sorted(sys.stdlib_module_names)]))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter that environments can be built for.

    Attributes:
        path: Its executable.
        interpreter: What it is.
        tag: What its compiled files are named by, as in `cpython-311`.
        stdlib: Top-level modules of its standard library.
    """

    path: Path
    interpreter: Interpreter
    tag: str
    stdlib: frozenset[str]


def own() -> Python:
    """Return the interpreter of this process."""
    return Python(
        Path(sys.executable),
        Interpreter.current(),
        str(sys.implementation.cache_tag),
        frozenset(sys.stdlib_module_names) | frozenset(sys.builtin_module_names),
    )


def find(setting: str, environ: Mapping[str, str] | None = None) -> list[Python]:
    """Return the interpreters, the server's own first, then the newest of each minor version.

    Args:
        setting: `auto`, `own`, or executables with commas between.
        environ: Environment variables; `os.environ` by default.

    Raises:
        InvalidSetting: An executable that is named is no Python 3.10 or newer.
    """
    found = [own()]
    if setting == "own":
        return found
    if setting == "auto":
        asked = _ask_all(_usual_places(os.environ if environ is None else environ))
    else:
        named = [Path(text.strip()).expanduser() for text in setting.split(",") if text.strip()]
        asked = _ask_all(named)
        for path in named:
            if not any(python.path == path for python in asked):
                raise InvalidSetting(
                    f"The setting pythons names {str(path)!r}, which is no Python of version 3.10 "
                    "or newer that runs.",
                    hint="Name executables, for example /usr/bin/python3.12, or write own or auto.",
                )
    for python in sorted(asked, key=_version, reverse=True):
        if not any(python.interpreter.magic == other.interpreter.magic for other in found):
            found.append(python)
    return found


def _version(python: Python) -> list[int]:
    parts = python.interpreter.version.split(".")
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in parts]


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or Path.home())
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    of_uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    beside = Path(sys.base_prefix).resolve().parent
    # A shim of pyenv runs whichever version is chosen where it is called, and hides what follows.
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    searched = os.pathsep.join(f for f in folders if "shims" not in Path(f).parts)
    for minor in MINORS:
        name = f"python3.{minor}"
        yield from _matching(beside, f"*3.{minor}.*/bin/{name}")
        yield from _matching(pyenv, f"versions/3.{minor}.*/bin/{name}")
        yield from _matching(of_uv, f"cpython-3.{minor}.*/bin/{name}")
        on_path = shutil.which(name, path=searched)
        if on_path:
            yield Path(on_path)


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return what matches; nothing in a folder of somebody else's, which variables may name."""
    try:
        return sorted(folder.glob(pattern))
    except PermissionError:
        return []


def _ask_all(paths: Iterable[Path]) -> list[Python]:
    own_minor = sys.version_info[1]
    wanted = {p for p in paths if p.name != f"python3.{own_minor}" or not _is_own(p)}
    with ThreadPoolExecutor(4) as pool:
        return [python for python in pool.map(_ask, sorted(wanted)) if python is not None]


def _is_own(path: Path) -> bool:
    return path.resolve() == Path(sys.executable).resolve()


def _ask(path: Path) -> Python | None:
    """Return what the executable at `path` is; None if it is no Python we can use."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _ASK],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        name, version, magic, where, tag, stdlib = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if name != sys.implementation.name:
        return None
    if int(version.split(".")[0]) != 3 or int(version.split(".")[1]) < MINORS[0]:
        return None
    return Python(path, Interpreter(name, version, magic, where), tag, frozenset(stdlib))
