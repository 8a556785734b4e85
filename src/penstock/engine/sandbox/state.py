"""How workers are confined on this server, as people see it: a plain value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SandboxState:
    """How workers are confined on this server.

    Attributes:
        asked: The tier of the settings.
        tier: The tier that workers reach.
        required: Whether workers are refused that do not reach it.
        landlock: Version of the kernel's Landlock; 0 for none.
        seccomp: Whether system calls are filtered.
        users: Whether each project has a user of its own.
        memory: What holds workers to their memory: `"cgroup v2"`, `"cgroup v1"` or `"watchdog"`.
        missing: Why `tier` is not `asked`, as sentences.
        notes: What would be better still, as sentences.
    """

    asked: str
    tier: str
    required: bool
    landlock: int
    seccomp: bool
    users: bool
    memory: str = "watchdog"
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
