"""Makes the part that builds environments, from the server's settings. Called by `assembly`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.control.database import Database
from penstock.control.environments import Environments, Rules
from penstock.environments import pythons
from penstock.environments.builder import Builder, Ways, has_nvidia_device
from penstock.environments.shelf import Shelf
from penstock.environments.sources import BEST, FIRST, Sources, with_pip_config
from penstock.environments.try_imports import Guard
from penstock.environments.uv import Uv
from penstock.loaders.registry import PRELOAD
from penstock.server.package_settings import PackageSettings
from penstock.stores.base import BlobStore

#: Libraries that model types need although importing them ahead of a fork is not safe.
_NOT_AHEAD = {"keras": ("keras",), "onnx": ("onnxruntime",), "tensorflow": ("tensorflow",)}

_STRATEGIES = {"auto": "auto", "first-index": FIRST, "best-match": BEST}


async def make_environments(
    settings: PackageSettings, folder: Path, database: Database, store: BlobStore, guard: Guard
) -> Environments:
    """Return the environments in `folder`; none is built or checked yet.

    `guard` confines what runs in them.

    Raises:
        InvalidSetting: `pythons` names what is no interpreter.
        StoreError: The folder cannot be written.
    """
    cuda = settings.package_cuda == "on" or (
        settings.package_cuda == "auto" and has_nvidia_device()
    )

    def make() -> Environments:
        found = pythons.find(settings.pythons)
        cache = cache_folder(settings, folder)
        uv = Uv(sources_of(settings), cache / "uv", settings.package_timeout_s)
        ways = Ways(settings.package_link, cuda, settings.package_timeout_s)
        builder = Builder(Shelf(folder).prepare(), uv, found, cache / "compiled", ways, guard)
        preload = {kind.value: modules for kind, modules in PRELOAD.items()}
        rules = Rules(preload, needed_modules(preload), cuda, settings.environment_grace_s)
        return Environments(builder, found, database, store, rules)

    return await asyncio.to_thread(make)


def needed_modules(preload: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the top-level modules of libraries that each model type needs."""
    found: dict[str, list[str]] = {}
    for kind, modules in preload.items():
        tops = [name.partition(".")[0] for name in (*modules, *_NOT_AHEAD.get(kind, ()))]
        found[kind] = [name for name in dict.fromkeys(tops) if name != "penstock"]
    return found


def cache_folder(settings: PackageSettings, folder: Path) -> Path:
    """Return where downloaded and compiled packages are kept."""
    named = settings.package_cache
    return Path(named).expanduser().absolute() if named else folder / "cache"


def sources_of(settings: PackageSettings) -> Sources:
    """Return where packages come from: the settings, completed by pip's configuration."""
    given = Sources(
        index=settings.package_index,
        extra_indexes=_listed(settings.package_extra_indexes),
        folders=_listed(settings.package_folders),
        offline=settings.package_offline == "on",
        cert=settings.package_cert,
        newest=settings.package_newest,
        builds=settings.package_builds == "on",
    )
    return with_pip_config(given, strategy=_STRATEGIES[settings.package_index_strategy])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
