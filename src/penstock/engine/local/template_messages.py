"""What server and template say to each other: one msgpack message per packet, as with the zygote.

The `Load` message of a `Prepare` travels as a memory file, because a manifest may be larger than a
packet; the descriptors of a `Branch` or `Become` are those of `pipes.ChildEnds`.
"""

from __future__ import annotations

import socket

import msgspec

from penstock.engine.local.pipes import ChildEnds

#: Largest packet either side sends.
PACKET_LIMIT = 64 * 1024

#: Room for the descriptors of any message.
FDS_SPACE = socket.CMSG_SPACE(len(ChildEnds._fields) * 4)


class Prepare(msgspec.Struct, tag="prepare", frozen=True):
    """Server to template, first message: load the version. `size` bytes of `Load` come along."""

    size: int


class Branch(msgspec.Struct, tag="branch", frozen=True):
    """Server to template: fork a worker that becomes a child of process `server`."""

    server: int


class Become(msgspec.Struct, tag="become", frozen=True):
    """Server to template: be a worker yourself; there is no answer."""


class Prepared(msgspec.Struct, tag="prepared", frozen=True):
    """Template to server: it is loaded. `obstacle` says why it must not fork, if it must not."""

    load_ms: float
    obstacle: str


class NotPrepared(msgspec.Struct, tag="not_prepared", frozen=True):
    """Template to server: it cannot be loaded. `told` is `PenstockError.to_dict()` as JSON."""

    told: bytes


class Branched(msgspec.Struct, tag="branched", frozen=True):
    """Template to server: the worker's process id."""

    pid: int


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """Template to server: no worker could be forked."""

    reason: str


ToTemplate = Prepare | Branch | Become
FromTemplate = Prepared | NotPrepared | Branched | Refused
