"""Where a module comes from, and which of the user's own files a function needs.

A module is *local* when its file is the user's: not in the standard library, not installed in a
site-packages folder, not Penstock. Local modules travel as source files. Nothing is imported to
find out: modules are located through their specs, and imports are read from the syntax tree.
Called by `penstock.environments.reach` and `penstock.environments.imports`.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from importlib.machinery import ModuleSpec
from pathlib import Path

from penstock.environments.module_source import SourceImport, source_imports

#: Always on the server; never listed, never shipped.
OWN = frozenset({"penstock", "cloudpickle"})


class Origin(Enum):
    """Where a module comes from."""

    STANDARD = "standard library"
    INSTALLED = "installed"
    OWN = "penstock"
    LOCAL = "local"
    MISSING = "missing"


@dataclass(frozen=True)
class LocalModule:
    """One of the user's own modules. `path` is None for a folder without `__init__.py`."""

    name: str
    path: Path | None
    is_package: bool

    @property
    def relative_path(self) -> str:
        """Path below a folder of `sys.path`, with forward slashes."""
        base = self.name.replace(".", "/")
        return f"{base}/__init__.py" if self.is_package else f"{base}.py"

    @property
    def package(self) -> str:
        """What a relative import inside this module is relative to."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def origin_of(name: str) -> Origin:
    """Return where the top-level module of `name` comes from."""
    return _origin(name.partition(".")[0])


def find_local(name: str) -> LocalModule | None:
    """Return the local module called `name` (dotted), or None when it is none or not there."""
    spec = _find_spec(name)
    if spec is None or origin_of(name) is not Origin.LOCAL:
        return None
    is_package = spec.submodule_search_locations is not None
    if is_package and not (spec.has_location and spec.origin):
        return LocalModule(name, None, is_package=True)
    path = Path(spec.origin or "")
    return LocalModule(name, path, is_package) if path.suffix == ".py" else None


def forget() -> None:
    """Forget what was located; called before each scan, since files and `sys.path` change."""
    _origin.cache_clear()
    _find_spec.cache_clear()


class LocalModules:
    """The local modules a flow needs, with those they import themselves.

    Attributes:
        modules: Modules to ship by dotted name.
    """

    def __init__(self) -> None:
        self.modules: dict[str, LocalModule] = {}
        self._imports: dict[str, list[SourceImport]] = {}

    def add(self, name: str) -> list[tuple[str, bool]]:
        """Take `name`, its parents and every local module they import.

        Returns:
            `(dotted module, optional)` for every import of these files that does not travel: what
            is not local, and local modules without source (compiled extensions).
        """
        foreign: list[tuple[str, bool]] = []
        seen: set[str] = set()
        waiting = [(name, False)]
        while waiting:
            wanted, optional = waiting.pop()
            for part in _with_parents(wanted):
                if part not in seen:
                    seen.add(part)
                    waiting += self._take(part, optional, foreign)
        return foreign

    def _take(
        self, name: str, optional: bool, foreign: list[tuple[str, bool]]
    ) -> list[tuple[str, bool]]:
        module = find_local(name)
        if module is None:
            if origin_of(name) is not Origin.LOCAL or "." not in name:
                foreign.append((name, optional))
            return []
        self.modules[name] = module
        if name not in self._imports:
            self._imports[name] = source_imports(module.path) if module.path else []
        return [
            (target, optional or statement.optional)
            for statement in self._imports[name]
            for target in targets(statement.module, statement.level, statement.names, module)
        ]


def targets(module: str, level: int, names: Iterable[str], where: LocalModule | str) -> list[str]:
    """Return the dotted modules one import statement needs.

    Args:
        module: What follows `import` or `from`; may be empty with a `level`.
        level: Leading dots.
        names: What follows the second `import` of a `from` statement.
        where: The module (or the package name) the statement is in.
    """
    package = where if isinstance(where, str) else where.package
    base = _absolute(module, level, package)
    if not base:
        return []
    found = [base]
    if origin_of(base) is Origin.LOCAL:
        found += [f"{base}.{n}" for n in names if n != "*" and find_local(f"{base}.{n}")]
    return found


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (level - 1)]
    return ".".join([*kept, module] if module else kept)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


@functools.lru_cache(maxsize=4096)
def _origin(top: str) -> Origin:
    if top in OWN:
        return Origin.OWN
    if top in sys.builtin_module_names or top == "__main__":
        return Origin.STANDARD
    spec = _find_spec(top)
    if spec is None:
        return Origin.STANDARD if top in sys.stdlib_module_names else Origin.MISSING
    if spec.origin in {"built-in", "frozen"}:
        return Origin.STANDARD
    places = [spec.origin] if spec.has_location else spec.submodule_search_locations
    return _origin_of_path(str(next(iter(places or ()), "") or ""))


def _origin_of_path(text: str) -> Origin:
    if not text:
        return Origin.MISSING
    path = Path(text)
    if any(part in {"site-packages", "dist-packages"} for part in path.parts):
        return Origin.INSTALLED
    if any(path.is_relative_to(root) for root in _site_roots()):
        return Origin.INSTALLED
    if any(path.is_relative_to(root) for root in _standard_roots()):
        return Origin.STANDARD
    return Origin.LOCAL


@functools.lru_cache(maxsize=1)
def _site_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return (paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages())


@functools.lru_cache(maxsize=1)
def _standard_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return (paths["stdlib"], paths["platstdlib"])


@functools.lru_cache(maxsize=4096)
def _find_spec(name: str) -> ModuleSpec | None:
    """Find a module's spec without importing the module or its parents."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    parent, _, _ = name.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(name)
        above = _find_spec(parent)
        places = above.submodule_search_locations if above else None
        return importlib.machinery.PathFinder.find_spec(name, list(places)) if places else None
    except (ImportError, ValueError, AttributeError):
        return None
