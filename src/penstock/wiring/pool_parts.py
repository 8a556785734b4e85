"""Joins what running versions are made of: the engine, files, secrets; called by `assembly`."""

from __future__ import annotations

from pathlib import Path

from penstock.control.pools import Pools
from penstock.control.secrets import Secrets
from penstock.engine.base import Engine
from penstock.loaders.device import GPU_TYPES
from penstock.loaders.registry import PRELOAD
from penstock.server.settings import Settings
from penstock.stores.base import BlobStore
from penstock.stores.keyring import Keyring
from penstock.wiring.data_folder import DataFolder


def make_pools(settings: Settings, engine: Engine, store: BlobStore, secrets: Secrets) -> Pools:
    """Return the running versions: none yet."""
    preload = {kind.value: modules for kind, modules in PRELOAD.items()}
    return Pools(
        engine,
        store,
        preload,
        idle_s=settings.version_idle_s,
        drain_s=settings.drain_s,
        secrets=secrets,
        gpu_types=GPU_TYPES,
    )


def open_keyring(settings: Settings, folder: DataFolder) -> Keyring:
    """Return the keys that secrets are encrypted with.

    Raises:
        InvalidSetting, StoreError: They cannot be used.
    """
    named = settings.secrets_key_file
    path = Path(named).expanduser() if named else folder.secret_keys
    return Keyring(path, settings.secrets_key)
