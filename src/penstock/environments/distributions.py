"""Which installed distributions there are, and which one a module belongs to.

Names and versions are read from folder names on the path, which takes a millisecond; asking
`importlib.metadata` for every distribution takes two hundred and is done only for a module that
the quick ways do not find. Used by `describe` on the server and by `imports.scan` in the client.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from penstock.environments.pypi_names import PYPI_NAMES

_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def canonical(name: str) -> str:
    """Return a distribution's name as PyPI compares it: lower case, single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(path: Sequence[str] | None = None) -> dict[str, str]:
    """Return versions by canonical distribution name, as found in the folders of `path`.

    Args:
        path: Folders to look in; `sys.path` by default. The first find of a name counts.
    """
    found: dict[str, str] = {}
    for name in _info_folders(sys.path if path is None else path):
        match = _INFO.fullmatch(name)
        if match:
            found.setdefault(canonical(match["name"]), match["version"])
    return dict(sorted(found.items()))


def _info_folders(path: Sequence[str]) -> Iterator[str]:
    for folder in path:
        try:
            with os.scandir(folder or ".") as entries:
                names = [entry.name for entry in entries]
        except OSError:
            continue
        yield from sorted(n for n in names if n.endswith(("-info",)))


def distribution_of(module: str, packages: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return name and version of the distribution that installed a top-level module.

    Args:
        module: Top-level module, as in `import sklearn`.
        packages: What `installed()` returned.

    Returns:
        `(None, None)` if no installed distribution has it.
    """
    for name in (canonical(PYPI_NAMES.get(module, module)), canonical(module)):
        if name in packages:
            return name, packages[name]
    for name in _distributions_by_module().get(module, ()):
        return canonical(name), packages.get(canonical(name))
    return None, None


def package_for(module: str, distribution: str | None) -> str:
    """Return what to install for a module: the well-known name, the client's own, or its name."""
    return PYPI_NAMES.get(module) or distribution or module


@functools.lru_cache(maxsize=1)
def _distributions_by_module() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
