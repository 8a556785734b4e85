"""What server and zygote say to each other: one msgpack message per packet of a seqpacket socket.

The descriptors of a `Fork` (see `pipes.ChildEnds` and `pipes.TemplateEnds`) travel with its packet.
"""

from __future__ import annotations

import msgspec

#: Largest packet either side sends.
PACKET_LIMIT = 64 * 1024


class Warm(msgspec.Struct, tag="warm", frozen=True):
    """Server to zygote: import these modules, if they are installed."""

    modules: list[str]


class Fork(msgspec.Struct, tag="fork", frozen=True):
    """Server to zygote: fork a child of process `server`, a worker or a `template`."""

    server: int
    template: bool = False


class Warmed(msgspec.Struct, tag="warmed", frozen=True):
    """Zygote to server: `failed` has the reason for each module that was not imported.

    `threaded` names the module whose import started threads, after which the zygote stopped.
    """

    took_ms: float
    failed: dict[str, str]
    threaded: str


class Forked(msgspec.Struct, tag="forked", frozen=True):
    """Zygote to server: the worker's process id."""

    pid: int


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """Zygote to server: forking would not be safe."""

    reason: str


ToZygote = Warm | Fork
FromZygote = Warmed | Forked | Refused
