"""How the server wants workers confined. Made by `wiring` from the server's settings."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.codec.sandbox import GUARDED


@dataclass(frozen=True)
class SandboxOptions:
    """What holds for every version.

    Attributes:
        tier: One of `penstock.codec.sandbox.TIERS`.
        required: Refuse to start workers that cannot be confined so.
        read: Further files and folders that workers may read.
        write: Further folders that workers may write.
        users: User ids, one for each project, taken in order; empty to keep the server's own.
    """

    tier: str = GUARDED
    required: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    users: range = range(0)
