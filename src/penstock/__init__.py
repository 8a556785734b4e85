"""Penstock: one Python call turns model files plus your own functions into a served endpoint.

The public names are below; everything else is private. Each is resolved on first use, so that
importing the package costs a few milliseconds, in a notebook as in a worker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import secrets
    from penstock.client.api import deploy
    from penstock.client.conduit import Conduit
    from penstock.client.endpoint import Endpoint
    from penstock.client.request import model_api_request
    from penstock.client.start import start
    from penstock.core.branches import parallel, switch
    from penstock.core.errors import PenstockError
    from penstock.core.flow import ModelType as model_type  # noqa: N813 - the users' word
    from penstock.core.hardware import Hardware as hardware  # noqa: N813
    from penstock.core.loggers import LoggingPlatform as logging_platform  # noqa: N813
    from penstock.core.model_types import PluginType
    from penstock.core.text import Text
    from penstock.flow.folders import run_folder
    from penstock.flow.memory import delete, get, memory, save
    from penstock.flow.secrets import get_secret
    from penstock.flow.upload import upload

    __version__: str

__all__ = [
    "Conduit",
    "Endpoint",
    "PenstockError",
    "PluginType",
    "Text",
    "__version__",
    "delete",
    "deploy",
    "get",
    "get_secret",
    "hardware",
    "logging_platform",
    "memory",
    "model_api_request",
    "model_type",
    "parallel",
    "run_folder",
    "save",
    "secrets",
    "start",
    "switch",
    "upload",
]

#: Where each public name lives and what it is called there; empty for the module itself.
_HOMES: dict[str, tuple[str, str]] = {
    "Conduit": ("penstock.client.conduit", "Conduit"),
    "Endpoint": ("penstock.client.endpoint", "Endpoint"),
    "PenstockError": ("penstock.core.errors", "PenstockError"),
    "PluginType": ("penstock.core.model_types", "PluginType"),
    "Text": ("penstock.core.text", "Text"),
    "delete": ("penstock.flow.memory", "delete"),
    "deploy": ("penstock.client.api", "deploy"),
    "get": ("penstock.flow.memory", "get"),
    "get_secret": ("penstock.flow.secrets", "get_secret"),
    "hardware": ("penstock.core.hardware", "Hardware"),
    "logging_platform": ("penstock.core.loggers", "LoggingPlatform"),
    "memory": ("penstock.flow.memory", "memory"),
    "model_api_request": ("penstock.client.request", "model_api_request"),
    "model_type": ("penstock.core.flow", "ModelType"),
    "parallel": ("penstock.core.branches", "parallel"),
    "run_folder": ("penstock.flow.folders", "run_folder"),
    "save": ("penstock.flow.memory", "save"),
    "secrets": ("penstock.client.secrets", ""),
    "start": ("penstock.client.start", "start"),
    "switch": ("penstock.core.branches", "switch"),
    "upload": ("penstock.flow.upload", "upload"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        module, attribute = _HOMES[name]
        home = import_module(module)
        value = getattr(home, attribute) if attribute else home
    else:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("penstock")
    except PackageNotFoundError:
        return "0+unknown"
