"""The server's side of the sandbox: who gets which user, what this machine can do.

One `Confinement` per engine. `state` is what the dashboard, the status route and metrics show of
the server as a whole; each worker tells for itself how far it got.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from penstock.codec.sandbox import GUARDED, ISOLATED, PROCESS, Sandbox
from penstock.core.errors import SandboxUnavailable
from penstock.engine.base import VersionKey
from penstock.engine.sandbox import bubblewrap, landlock, limits, places, seccomp
from penstock.engine.sandbox.options import SandboxOptions
from penstock.engine.sandbox.state import SandboxState


def examine(options: SandboxOptions, scratch: Path) -> SandboxState:
    """Return what workers with folders in `scratch` reach on this machine."""
    missing: list[str] = []
    tier, found, filters = options.tier, landlock.version(), seccomp.available()
    if tier != PROCESS and sys.platform != "linux":
        missing.append(f"{sys.platform} has no sandbox that Penstock can use.")
    elif tier != PROCESS:
        if not found:
            missing.append("The kernel has no Landlock (Linux 5.13 and later have it).")
        if not filters:
            missing.append("The kernel or the machine has no filter of system calls (seccomp).")
    reached = PROCESS if missing else tier
    if tier == ISOLATED:
        why_not = bubblewrap.obstacle()
        if why_not:
            missing.append(why_not)
            reached = GUARDED if reached == ISOLATED else reached
    why_shared = "" if reached == PROCESS else _no_users(options, scratch)
    return SandboxState(
        asked=options.tier,
        tier=reached,
        required=options.required,
        landlock=found,
        seccomp=filters,
        users=reached != PROCESS and not why_shared,
        missing=tuple(missing),
        notes=(why_shared,) if why_shared else (),
    )


def _no_users(options: SandboxOptions, scratch: Path) -> str:
    """Return why projects have no users of their own, as a sentence; empty if they have."""
    if os.geteuid() != 0 or not options.users:
        return "Every project has the server's user: the server is not root, or it was told so."
    for path in (str(scratch), *places.interpreter(), *options.read):
        closed = places.closed_to_others(path)
        if closed:
            return f"Every project has the server's user: other users cannot go through {closed}."
    return ""


class Confinement:
    """Says how the processes of each version confine themselves.

    Raises:
        SandboxUnavailable: The options require what this machine cannot do.
    """

    def __init__(self, options: SandboxOptions, scratch: Path) -> None:
        self._options = options
        self._users: dict[str, int] = {}
        self._processes = limits.half_of_the_user()
        self.state = examine(options, scratch)
        if options.required and self.state.missing:
            raise SandboxUnavailable(
                f"Workers cannot be in the tier {options.tier} here: {self.state.missing[0]}",
                hint="Choose another tier with PENSTOCK_SANDBOX, or take what there is with "
                "PENSTOCK_SANDBOX_REQUIRED=off.",
            )

    def sandbox(self, key: VersionKey, home: Path, network: str) -> Sandbox:
        """Return how the processes of a version confine themselves."""
        options = self._options
        tier = self.state.tier if self.state.tier == ISOLATED else min_tier(options.tier)
        # There is only one user in a namespace of users.
        user = self._user(key.project) if tier != ISOLATED else 0
        return Sandbox(
            tier=tier,
            home=str(home),
            required=options.required,
            network=network,
            read=options.read,
            write=options.write,
            user=user,
            processes=limits.PROCESSES if user else self._processes,
        )

    def for_environment(self, homes: Path, files: Path) -> Sandbox:
        """Return how an interpreter is confined whose packages are of a user's own choice.

        Args:
            homes: Folder that holds the homes of its versions.
            files: Folder that holds the files of its versions.
        """
        options = self._options
        return Sandbox(
            tier=min_tier(options.tier),
            home=str(homes),
            required=options.required,
            read=(*options.read, str(files)),
            write=options.write,
            user=int(self.state.users),
            processes=self._processes,
        )

    def _user(self, project: str) -> int:
        """Return the project's user; 0 when there are none, or no more."""
        if not self.state.users:
            return 0
        known = self._users.get(project)
        if known is None and len(self._users) < len(self._options.users):
            known = self._users[project] = self._options.users[len(self._users)]
        return known or 0


def min_tier(asked: str) -> str:
    """Return what a worker can do for itself of a tier: it cannot put itself into a container."""
    return GUARDED if asked == ISOLATED else asked
