"""How a worker process is to be confined, as it travels from the server to the process.

A part of the `Load` message (see `frames`); `penstock.engine.sandbox` obeys it before any code of a
user runs. What the process can tell for itself, above all where its interpreter and libraries lie,
is not in here.
"""

from __future__ import annotations

import msgspec

#: The tiers, the weakest first.
PROCESS, GUARDED, ISOLATED = "process", "guarded", "isolated"
TIERS = (PROCESS, GUARDED, ISOLATED)

#: What a deployment's functions may reach over the network.
NETWORKS = ("all", "none")


class Sandbox(msgspec.Struct, frozen=True):
    """What a worker or a template is to confine itself to.

    Attributes:
        tier: One of `TIERS`.
        required: Whether the process must end rather than run with less.
        network: One of `NETWORKS`.
        home: The version's folder, which its processes write below.
        read: Further files and folders to read.
        write: Further folders to write.
        user: User and group id to take on; 0 to keep the server's.
        open_files: Descriptors the process may have open.
        file_bytes: Largest file it may write.
    """

    tier: str
    home: str
    required: bool = False
    network: str = "all"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    user: int = 0
    open_files: int = 4096
    file_bytes: int = 16 << 30
