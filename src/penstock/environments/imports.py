"""What the functions of a flow need on the server: libraries, local modules, names.

`Scanner` follows one function after another and keeps what they share. Called by
`penstock.client.preflight` before anything is pickled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.core.errors import UndefinedName
from penstock.environments.distributions import distribution_of, installed
from penstock.environments.homes import Homes
from penstock.environments.local_modules import LocalModules, Origin, forget, origin_of
from penstock.environments.reach import Reach, Undefined, Value

#: Where modules come from that an environment must have.
_INSTALLED = frozenset({Origin.INSTALLED, Origin.MISSING})


@dataclass(frozen=True)
class Library:
    """A top-level module that must be installed, and its distribution here, if any."""

    module: str
    distribution: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Scan:
    """What one function needs.

    Attributes:
        libraries: Modules that must be installed on the server, sorted by name.
        values: Values that travel with the function.
        local: Dotted names of the local modules it uses directly or through others, sorted.
        modules: Dotted modules of libraries that it or these import, sorted.
        secrets: Names it gives to `get_secret`; None stands for one that is computed.
    """

    libraries: list[Library] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    secrets: tuple[str | None, ...] = ()


class Scanner:
    """Scans the functions of one flow.

    Attributes:
        by_value: Importable modules whose functions travel as code; complete after the last scan.
        warnings: Sentences for the user.
    """

    def __init__(self) -> None:
        forget()
        self._homes = Homes()
        self._local = LocalModules()
        self._packages: dict[str, str] | None = None

    @property
    def by_value(self) -> frozenset[str]:
        """Importable modules whose functions travel as code."""
        return frozenset(self._homes.by_value)

    @property
    def warnings(self) -> list[str]:
        """What the user should know although it stops nothing."""
        return list(self._homes.warnings)

    def scan(self, function: Any, *, stage: int, role: str) -> Scan:
        """Return what `function` needs.

        Raises:
            UndefinedName: It uses a global name that nothing defines.
        """
        reach = Reach(self._homes)
        reach.follow(function)
        _refuse_undefined(reach.undefined(), stage, role)
        needed = [module for module, optional in reach.imports.items() if not optional]
        wished = [module for module, optional in reach.imports.items() if optional]
        before = set(self._local.modules)
        libraries = self.resolve(needed)
        for module in wished:
            if origin_of(module) is Origin.LOCAL:
                self._local.add(module)
        local = sorted(set(self._local.modules) - before | self._known(needed))
        return Scan(libraries, reach.values, local, self.dotted(needed), tuple(reach.secrets))

    def dotted(self, modules: Iterable[str]) -> list[str]:
        """Return the modules of libraries among `modules` and what local ones of them import."""
        found: set[str] = set()
        for module in modules:
            if origin_of(module) is Origin.LOCAL:
                foreign = self._local.add(module)
                found.update(name for name, optional in foreign if not optional)
            else:
                found.add(module)
        return sorted(name for name in found if origin_of(name) in _INSTALLED)

    def resolve(self, modules: Iterable[str]) -> list[Library]:
        """Return the libraries behind dotted `modules`; local ones are noted for shipping."""
        tops: set[str] = set()
        for module in modules:
            if origin_of(module) is not Origin.LOCAL:
                tops.add(module.partition(".")[0])
                continue
            foreign = self._local.add(module)
            tops.update(name.partition(".")[0] for name, optional in foreign if not optional)
        return [self._library(top) for top in sorted(tops) if _must_be_installed(top)]

    def sources(self) -> dict[str, Path]:
        """Return the files of all local modules to ship, by relative path."""
        modules = sorted(self._local.modules.values(), key=lambda module: module.name)
        return {m.relative_path: m.path for m in modules if m.path is not None}

    def _known(self, modules: Collection[str]) -> set[str]:
        return {module for module in modules if module in self._local.modules}

    def _library(self, module: str) -> Library:
        if self._packages is None:
            self._packages = installed()
        if origin_of(module) is not Origin.INSTALLED:
            return Library(module)
        return Library(module, *distribution_of(module, self._packages))


def _must_be_installed(top: str) -> bool:
    return origin_of(top) in {Origin.INSTALLED, Origin.MISSING, Origin.LOCAL}


def _refuse_undefined(undefined: list[Undefined], stage: int, role: str) -> None:
    if not undefined:
        return
    names = sorted({item.name for item in undefined})
    shown = ", ".join(f"`{name}`" for name in names)
    owners = sorted({item.owner for item in undefined})
    raise UndefinedName(
        f"`{role}` of stage {stage} uses {shown}, which {'is' if len(names) == 1 else 'are'} "
        f"not defined (in {', '.join(owners)}).",
        stage=stage,
        function=role,
        hint="Define or import it before deploying, or correct the name.",
        names=names,
    )
