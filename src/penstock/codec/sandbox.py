"""How a worker process is to be confined, as it travels from the server to the process.

A part of the `Load` message (see `frames`); `penstock.engine.sandbox` obeys it before any code of a
user runs. What the process can tell for itself, above all where its interpreter and libraries lie,
is not in here.
"""

from __future__ import annotations

import os

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
        processes: Processes and threads that its user may have; 0 to leave that as it is.
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
    processes: int = 0


#: Set in the environment of a confined process: its tier, and what it may reach.
TIER_VARIABLE, NETWORK_VARIABLE = "PENSTOCK_SANDBOX", "PENSTOCK_SANDBOX_NETWORK"


def hint_for(error: BaseException) -> str | None:
    """Return what to do about an error that the sandbox may be the cause of; None for others."""
    if not isinstance(error, PermissionError) or TIER_VARIABLE not in os.environ:
        return None
    if error.filename is None:
        if os.environ.get(NETWORK_VARIABLE) != "none":
            return None
        return 'The version was deployed with network="none": it reaches no other machine.'
    return (
        "Workers may read their libraries and their version's files, and write to their working "
        "directory. Send the file along with the flow or the request; or the operator names its "
        "folder in PENSTOCK_SANDBOX_READ, or PENSTOCK_SANDBOX_WRITE."
    )
