"""Examines what environments of versions are built with and from, and those that there are.

Called by `penstock.cli.doctor`. Nothing is changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from penstock.core.errors import PenstockError
from penstock.core.findings import Finding, ok, problem, warning
from penstock.environments import pythons, uv
from penstock.environments.shelf import Shelf, missing_packages
from penstock.environments.sources import without_password
from penstock.server.load_settings import load_settings
from penstock.server.settings import Settings
from penstock.wiring.environment_parts import cache_folder, sources_of

_SUBJECT = "environments"

MIB = 1024 * 1024


def examine_environments(root: Path) -> Iterator[Finding]:
    """Yield what there is to say about the environments in the data folder `root`.

    The settings are those of this process's environment variables.
    """
    settings = load_settings()
    yield _uv()
    yield _pythons(settings)
    yield _sources(settings)
    shelf = Shelf(root / "environments")
    for key in shelf.all_keys():
        yield _environment(shelf, key)
    cache = cache_folder(settings, shelf.root)
    if cache.is_dir() and shelf.root.is_dir() and cache.stat().st_dev != shelf.root.stat().st_dev:
        yield warning(
            _SUBJECT,
            f"The cache {cache} is on another disk than the environments: files are copied.",
            "Name a folder on the same disk with PENSTOCK_PACKAGE_CACHE.",
        )


def _uv() -> Finding:
    found = uv.version()
    if found.startswith("unusable"):
        return problem(
            _SUBJECT,
            f"uv, which builds them, is {found}",
            'Run: pip install "penstock[server]" in the server\'s environment.',
        )
    return ok(_SUBJECT, f"uv {found} builds them.")


def _pythons(settings: Settings) -> Finding:
    try:
        found = pythons.find(settings.pythons)
    except PenstockError as error:
        return problem(_SUBJECT, error.message, error.hint or "")
    listed = ", ".join(python.interpreter.version for python in found)
    if len(found) == 1:
        return warning(
            _SUBJECT,
            f"Python {listed} is the only one: functions made by other versions are refused.",
            "Install others, or name them with PENSTOCK_PYTHONS.",
        )
    return ok(_SUBJECT, f"They can be built for Python {listed}.")


def _sources(settings: Settings) -> Finding:
    sources = sources_of(settings)
    missing = [
        place for place in sources.folders if "://" not in place and not Path(place).is_dir()
    ]
    if missing:
        return problem(
            _SUBJECT,
            f"There is no folder {missing[0]}, where wheels are to come from.",
            "Correct PENSTOCK_PACKAGE_FOLDERS, or find-links in pip's configuration.",
        )
    if sources.cert and not Path(sources.cert).is_file():
        return problem(
            _SUBJECT,
            f"There is no file {sources.cert} with certificates.",
            "Correct PENSTOCK_PACKAGE_CERT, or cert in pip's configuration.",
        )
    places = [*sources.extra_indexes, sources.index or "PyPI", *sources.folders]
    if sources.no_index or sources.offline:
        places = list(sources.folders)
    text = ", ".join(map(without_password, places)) or "the cache alone"
    return ok(_SUBJECT, f"Packages come from {text}{' (offline)' if sources.offline else ''}.")


def _environment(shelf: Shelf, key: str) -> Finding:
    lock = shelf.lock(key)
    name = f"{key[:12]} (Python {lock.interpreter.minor if lock is not None else '?'})"
    again = "It is built again when a version that uses it starts."
    if lock is None:
        return problem(_SUBJECT, f"The lock of {name} is damaged.", "Deploy its versions again.")
    built = shelf.built(key)
    if built is None:
        return warning(_SUBJECT, f"{name} is not built.", again)
    if not shelf.is_built(key):
        where = shutil.which(f"python{lock.interpreter.minor}")
        return problem(
            _SUBJECT,
            f"The interpreter of {name} is gone.",
            again if where else f"Install Python {lock.interpreter.minor} again.",
        )
    missing = missing_packages(lock, shelf.path(key))
    if missing:
        return problem(
            _SUBJECT,
            f"{name} has lost {', '.join(missing[:3])}.",
            f"Delete the folder {shelf.path(key)}: {again[0].lower()}{again[1:]}",
        )
    size = f"{built.size_bytes / MIB:.1f} MiB of its own"
    return ok(_SUBJECT, f"{name} is whole: {len(lock.packages)} packages, {size}.")
