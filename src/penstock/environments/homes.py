"""How a function or class gets to the server: it is there, its file travels, or its code does.

Decided once per module, before anything is pickled. Used by `penstock.environments.reach`; the set
of modules whose code must travel goes to `penstock.codec.functions`.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from penstock.environments.freshness import difference
from penstock.environments.local_modules import Origin, find_local, origin_of


class Home(Enum):
    """How an object gets to the server.

    `library`: it is installed there. `source`: its module travels as a file and is imported there.
    `value`: its code travels in the pickle.
    """

    LIBRARY = "library"
    SOURCE = "source"
    VALUE = "value"


class Homes:
    """Answers `of(function or class)`, and remembers which modules travel by value and why.

    Attributes:
        by_value: Names of importable modules whose functions travel as code all the same.
        warnings: Sentences for the user.
    """

    def __init__(self) -> None:
        self.by_value: set[str] = set()
        self.warnings: list[str] = []
        self._modules: dict[str, Home] = {}

    def of(self, obj: Any) -> Home:
        """Return how `obj`, a function, class or other named object, gets to the server."""
        name = getattr(obj, "__module__", None)
        if not isinstance(name, str) or not _is_reachable(obj, name):
            return Home.VALUE
        return self.of_module(name)

    def of_module(self, name: str) -> Home:
        """Return how what is defined in the loaded module `name` gets to the server."""
        if name not in self._modules:
            self._modules[name] = self._decide(name)
        return self._modules[name]

    def _decide(self, name: str) -> Home:
        module = sys.modules[name]
        origin = origin_of(name)
        if origin in {Origin.STANDARD, Origin.INSTALLED, Origin.OWN}:
            return Home.LIBRARY
        reason = _why_not_source(module, name)
        if reason is None:
            return Home.SOURCE
        if origin is Origin.MISSING and not _has_python_code(module):
            return Home.LIBRARY
        self.by_value.add(name)
        if reason:
            self.warnings.append(
                f"The module {name!r} changed after it was imported: {reason}. Its functions are "
                "deployed as they are in memory; restart Python or reload the module to deploy the "
                "file."
            )
        return Home.VALUE


def _why_not_source(module: ModuleType, name: str) -> str | None:
    """Return None if the module can travel as its file; else why not, empty if that is usual."""
    found = find_local(name)
    file = getattr(module, "__file__", None)
    if found is None or found.path is None or not file:
        return ""
    if not Path(file).exists() or not found.path.samefile(file):
        return ""
    if not all(part.isidentifier() for part in name.split(".")):
        return ""
    if getattr(module.__spec__, "_initializing", False) or _is_registered(name):
        # Deploying from a module's own top level: importing it there would deploy again.
        return ""
    return difference(module, found.path)


def _is_registered(name: str) -> bool:
    """Whether somebody told cloudpickle that this module, or a package it is in, goes by value.

    `penstock deploy file.py` does so for the file: like a script, it may train models and read
    files at its top level, which is not to be done again on the server.
    """
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return False
    registered = cloudpickle.list_registry_pickle_by_value()
    return any(name == one or name.startswith(f"{one}.") for one in registered)


def _is_reachable(obj: Any, module_name: str) -> bool:
    """Whether `import module` and attribute access lead to this very object."""
    if module_name in {"__main__", "__mp_main__"}:
        return False
    found: Any = sys.modules.get(module_name)
    path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", "")
    for part in str(path).split("."):
        found = getattr(found, part, None)
    return found is obj


def _has_python_code(module: ModuleType) -> bool:
    values = list(vars(module).values())
    return any(isinstance(v, FunctionType) and v.__globals__ is vars(module) for v in values)
