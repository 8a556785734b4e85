"""The sandbox of the workers, from the server's settings. Called by `assembly`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from penstock.codec.sandbox import Sandbox
from penstock.core.errors import InvalidSetting
from penstock.engine.sandbox import enter, limits, places
from penstock.engine.sandbox.confinement import min_tier
from penstock.engine.sandbox.options import SandboxOptions
from penstock.environments.try_imports import Guard
from penstock.server.settings import Settings
from penstock.wiring.data_folder import DataFolder

#: Users below this are people and services of the machine.
_LEAST_USER = 1000


def sandbox_options(settings: Settings, folder: DataFolder) -> SandboxOptions:
    """Return how workers are confined; lets them through to `folder` where they get users.

    Raises:
        InvalidSetting: A path is not absolute or not there, or the users are no range.
    """
    users = _users(settings.sandbox_users)
    if os.geteuid() != 0 or settings.sandbox == "process":
        users = range(0)
    elif users and not places.closed_to_others(str(folder.root.parent)):
        folder.let_workers_through()
    return SandboxOptions(
        tier=settings.sandbox,
        required=settings.sandbox_required == "on",
        read=_paths("PENSTOCK_SANDBOX_READ", settings.sandbox_read),
        write=_paths("PENSTOCK_SANDBOX_WRITE", settings.sandbox_write),
        users=users,
    )


def import_guard(settings: Settings) -> Guard:
    """Return what confines processes that only try what a user's environment can import."""
    read = _paths("PENSTOCK_SANDBOX_READ", settings.sandbox_read)
    required = settings.sandbox_required == "on"

    def guard(program: Sequence[str], folder: Path, places: Sequence[str]) -> list[str]:
        tier = min_tier(settings.sandbox)
        sandbox = Sandbox(
            tier=tier,
            home=str(folder),
            required=required,
            read=read,
            processes=limits.half_of_the_user(),
        )
        return enter.command(sandbox, places, program)

    return guard


def _paths(name: str, text: str) -> tuple[str, ...]:
    found = []
    for part in filter(None, text.split(":")):
        path = Path(part).expanduser()
        if not path.is_absolute() or not path.exists() or path == Path("/"):
            raise InvalidSetting(
                f"{name} names {part!r}, which is not an existing file or folder by its whole path."
            )
        found.append(str(path.resolve()))
    return tuple(found)


def _users(text: str) -> range:
    if not text:
        return range(0)
    numbers = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text)
    first, last = (int(n) for n in numbers.groups()) if numbers else (0, 0)
    if first < _LEAST_USER or last < first:
        raise InvalidSetting(
            f"PENSTOCK_SANDBOX_USERS is {text!r}; it must be two user ids from {_LEAST_USER} on "
            "with a hyphen between, the lower first.",
            hint="For example 200000-265535.",
        )
    return range(first, last + 1)
