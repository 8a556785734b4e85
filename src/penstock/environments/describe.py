"""What this interpreter has: the answer of `GET /v1/environment`.

Imports none of the packages it lists, and no pickler; a few milliseconds. The answer holds until
something is installed, so callers may keep it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence

import msgspec

from penstock.core.interpreter import Interpreter
from penstock.core.model_types import PLUGIN_GROUP
from penstock.environments.distributions import installed

_SUFFIXES = tuple(importlib.machinery.all_suffixes())


class EnvironmentInfo(msgspec.Struct, frozen=True):
    """What functions may use on a server.

    Attributes:
        penstock: Version of Penstock there.
        interpreter: The Python that loads the functions.
        packages: Versions by canonical distribution name.
        modules: Importable top-level modules, the standard library's among them, sorted.
        model_types: Values of the model types that installed packages add, sorted.
        models_with_code: `"allow"`, or `"refuse"` where models that can run code when they are
            loaded are refused.
    """

    penstock: str
    interpreter: Interpreter
    packages: dict[str, str]
    modules: list[str]
    model_types: list[str] = []
    models_with_code: str = "allow"


def describe(path: Sequence[str] | None = None) -> EnvironmentInfo:
    """Return what this interpreter has.

    Args:
        path: Folders to look in; by default `sys.path` without the current folder, which is not
            part of an environment.
    """
    folders = [p for p in sys.path if p] if path is None else list(path)
    packages = installed(folders)
    names = set(sys.stdlib_module_names) | set(sys.builtin_module_names)
    for folder in folders:
        names.update(_modules_in(folder))
    return EnvironmentInfo(
        penstock=packages.get("penstock", ""),
        interpreter=Interpreter.current(),
        packages=packages,
        modules=sorted(names),
        model_types=_plugged_types(folders),
    )


def _plugged_types(folders: list[str]) -> list[str]:
    """Return the model types that the packages in these folders add; none is imported."""
    entries = (
        entry
        for distribution in importlib.metadata.distributions(path=folders)
        for entry in distribution.entry_points
        if entry.group == PLUGIN_GROUP
    )
    return sorted({entry.name for entry in entries})


def _modules_in(folder: str) -> Iterator[str]:
    """Yield the top-level modules and packages in one folder of the path.

    In a site-packages folder a folder without `__init__.py` is a namespace package; elsewhere it
    is any folder.
    """
    is_site = os.path.basename(folder) in {"site-packages", "dist-packages"}
    try:
        with os.scandir(folder) as entries:
            found = [(e.name, e.is_dir()) for e in entries]
    except OSError:
        return
    for name, is_folder in found:
        top = name.partition(".")[0]
        if not top.isidentifier() or top == "__pycache__":
            continue
        if not is_folder:
            if name.endswith(_SUFFIXES):
                yield top
        elif name == top and (is_site or os.path.exists(f"{folder}/{name}/__init__.py")):
            yield name
