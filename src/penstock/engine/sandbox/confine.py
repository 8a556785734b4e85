"""Confines the process it is called in, as a `Sandbox` says, before any user code runs.

A worker and a template call `confine` when they have read what to load; a worker forked from a
template, which is confined already, calls `narrow`. The order matters: limits, user, no new
privileges, Landlock, seccomp; each later step could forbid the one before it. The process must have
one thread.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penstock.codec.sandbox import (
    GUARDED,
    ISOLATED,
    NETWORK_VARIABLE,
    NETWORKS,
    PROCESS,
    TIER_VARIABLE,
    TIERS,
    Sandbox,
)
from penstock.core.errors import SandboxUnavailable
from penstock.engine.local import lifeline
from penstock.engine.sandbox import kernel, landlock, limits, places, seccomp
from penstock.engine.sandbox.landlock import READ, RUN, Rules

#: Where libraries keep what they download or make up; all of it goes to the process's own folder.
_CACHES = {
    "HOME": "", "XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config", "HF_HOME": ".cache/hf",
    "TORCH_HOME": ".cache/torch", "MPLCONFIGDIR": ".cache/mpl", "NUMBA_CACHE_DIR": ".cache/numba",
}  # fmt: skip


@dataclass
class Reached:
    """How far this process is confined.

    Attributes:
        tier: The tier it is in.
        user: Its own user id; 0 when it has the server's.
        landlock: Version of Landlock in force; 0 for none.
        seccomp: Whether system calls are filtered.
        network: What it may reach: `"all"` or `"none"`.
        missing: What was asked for and is not there, as sentences.
        notes: What would be better still, as sentences.
    """

    tier: str = PROCESS
    user: int = 0
    landlock: int = 0
    seccomp: bool = False
    network: str = "all"
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return it as plain values, for people to see."""
        return asdict(self)


_reached: Reached | None = None


def reached() -> dict[str, Any]:
    """Return how far this process is confined; empty before `confine`."""
    return _reached.facts() if _reached is not None else {}


def look_ahead() -> None:
    """Find out what every process will ask that is forked from here and confines itself."""
    if not landlock.version() or not seccomp.available():
        return
    for _ in places.readable():
        continue
    for own_user in (True, False):
        for network in NETWORKS:
            seccomp.prepared(_families(own_user, network), not own_user)


def confine(wanted: Sandbox, scratch: str, artifacts: list[str]) -> None:
    """Confine this process for good.

    Args:
        wanted: How.
        scratch: The process's own folder, below `wanted.home`.
        artifacts: Files it loads.

    Raises:
        SandboxUnavailable: `wanted.required`, and this machine cannot do it all.
    """
    global _reached  # noqa: PLW0603 - a process is confined once, and so is what is known of it
    found = Reached()
    user = _possible_user(wanted, found)
    limits.apply(wanted.open_files, wanted.file_bytes, wanted.processes)
    if wanted.tier != PROCESS:
        _guard(wanted, artifacts, user, found)
    elif wanted.network == "none":
        found.missing.append("The tier process cannot keep functions from the network.")
    if wanted.required and found.missing:
        raise SandboxUnavailable(
            f"The worker cannot be confined as the server's settings require: {found.missing[0]}",
            hint="Run the server where it can, or set PENSTOCK_SANDBOX_REQUIRED=off.",
            missing=found.missing,
        )
    _settle_in(scratch, wanted)
    _reached = found


def confine_program(wanted: Sandbox, programs: Iterable[str]) -> list[str]:
    """Confine a process that becomes a program of a user's; its children narrow this further.

    Args:
        wanted: How. Of a zygote, `home` is the folder that holds the homes of all its children.
        programs: Files and folders that it may read and run besides.

    Returns:
        What is missing, as sentences.
    """
    found = Reached()
    limits.apply(wanted.open_files, wanted.file_bytes, wanted.processes)
    if wanted.tier != PROCESS and sys.platform == "linux":
        if os.geteuid() == 0:
            kernel.drop_capabilities(kernel.CHANGE_USER if wanted.user else ())
        kernel.no_new_privileges()
        _apply_landlock(wanted, [], found, programs)
        _apply_seccomp(wanted, found)
    return found.missing


def narrow(wanted: Sandbox, scratch: str) -> None:
    """Let a process that is confined already write to `scratch` only."""
    if _reached is not None and _reached.landlock:
        allowed = [places.own(scratch), *places.devices()]
        allowed += [places.own(path) for path in wanted.write]
        Rules(allowed, only_writing=True).apply(_reached.landlock)
    _settle_in(scratch, wanted)


def _guard(wanted: Sandbox, artifacts: list[str], user: int, found: Reached) -> None:
    if sys.platform != "linux":
        found.missing.append(f"{sys.platform} has no sandbox: workers are in the tier process.")
        return
    _change_user(user, found)
    threads = lifeline.thread_count()
    if threads > 1:
        found.missing.append(f"The process has {threads} threads already.")
        return
    kernel.no_new_privileges()
    _apply_landlock(wanted, artifacts, found)
    _apply_seccomp(wanted, found)
    if found.landlock and found.seccomp:
        found.tier = wanted.tier if wanted.tier in TIERS else GUARDED


def _change_user(user: int, found: Reached) -> None:
    if os.geteuid() != 0:
        return
    parent = os.getppid()
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.be_dumpable()
        lifeline.die_with(parent)  # the kernel forgets it when the user changes
        found.user = user
    else:
        kernel.drop_capabilities()


def _possible_user(wanted: Sandbox, found: Reached) -> int:
    """Return the user to take on; 0 where that user could not read what it needs."""
    if not wanted.user or wanted.tier == PROCESS or os.geteuid() != 0:
        return 0
    for path in (*places.interpreter(), *wanted.read):
        closed = places.closed_to_others(path)
        if closed:
            found.notes.append(
                f"Projects have no users of their own: other users cannot read {closed}."
            )
            return 0
    return wanted.user


def _apply_landlock(
    wanted: Sandbox, artifacts: Iterable[str], found: Reached, programs: Iterable[str] = ()
) -> None:
    version = landlock.version()
    if not version:
        found.missing.append("The kernel has no Landlock (Linux 5.13 and later have it).")
        return
    allowed = [*places.readable(), places.own(wanted.home), *((path, RUN) for path in programs)]
    allowed += [(path, READ) for path in (*artifacts, *wanted.read)]
    allowed += [places.own(path) for path in wanted.write]
    if wanted.tier == ISOLATED:  # these are the process's own there
        allowed += [places.own(path) for path in ("/tmp", "/dev/shm")]  # noqa: S108
    try:
        rules = Rules(allowed, no_tcp=wanted.network == "none", scoped=True)
        rules.apply(version)
        found.landlock = version
    except OSError as error:
        found.missing.append(f"Landlock does not work here: {error.strerror}.")


def _apply_seccomp(wanted: Sandbox, found: Reached) -> None:
    try:
        seccomp.apply(_families(bool(found.user), wanted.network), shared_user=not found.user)
    except OSError as error:
        found.missing.append(f"System calls cannot be filtered here: {error.strerror}.")
        return
    found.seccomp = True
    found.network = wanted.network


def _families(own_user: bool, network: str) -> tuple[int, ...]:
    if network == "none":
        return ()
    unix = (seccomp.AF_UNIX,) if own_user else ()  # to a shared user, the server's are open
    return (*unix, seccomp.AF_INET, seccomp.AF_INET6, seccomp.AF_NETLINK)


def _settle_in(scratch: str, wanted: Sandbox) -> None:
    """Have libraries keep their files in `scratch`, unless the operator shares a cache."""
    if wanted.tier == PROCESS:
        return
    folder = Path(scratch) / "home"
    temporary = folder / "tmp"
    for path in (folder, temporary):
        path.mkdir(exist_ok=True)
    shared = [Path(path) for path in (*wanted.read, *wanted.write)]
    for name, below in _CACHES.items():
        given = os.environ.get(name)
        if not given or not landlock.is_below(Path(given), shared):
            os.environ[name] = str(folder / below) if below else str(folder)
    os.environ["TMPDIR"] = str(temporary)
    os.environ[TIER_VARIABLE], os.environ[NETWORK_VARIABLE] = wanted.tier, wanted.network
    tempfile.tempdir = None
