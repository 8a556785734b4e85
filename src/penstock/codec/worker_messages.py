"""Messages on a worker's control socket: what the server tells it to do, what it tells of itself.

Msgpack with a length in front (`pack_message`); the memory socket and the zygote's sockets carry
their own messages in the same form. What a worker tells of itself is JSON within: the server looks
how much it is before it reads it.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import msgspec

from penstock.codec.sandbox import Sandbox
from penstock.core.errors import FrameError

_SIZE = struct.Struct("<I")


class Load(msgspec.Struct, tag="load", frozen=True):
    """Server to worker, first message: load this version and answer `Ready` or `Failed`.

    Attributes:
        blobs: SHA-256 to a path the worker may read.
        scratch: A folder of its own to write.
        sandbox: How it confines itself before it loads anything; None: not at all.
        secrets, devices: The secrets it declares; what `CUDA_VISIBLE_DEVICES` is set to.
        memory_limit_bytes: Memory that the worker may take; 0 for no limit.
        max_parts, max_nesting: Most parts of a multipart body, most levels of JSON.
    """

    project: str
    deployment: str
    version: int
    manifest: bytes
    blobs: dict[str, str]
    scratch: str
    threads: int
    max_batch: int
    memory: bool = True
    concurrency: int = 1
    sandbox: Sandbox | None = None
    secrets: dict[str, str] = {}
    devices: str = ""
    memory_limit_bytes: int = 0
    max_parts: int = 10_000
    max_nesting: int = 200

    def __repr__(self) -> str:
        return f"Load({self.project}/{self.deployment} version {self.version})"


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """Server to worker: nobody waits for these calls any more; skip those not begun."""

    call_ids: list[int]


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Server to worker: answer what you hold, then end."""


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """Worker to server: the version is loaded. `told` is shown to people (model inputs, ...)."""

    load_ms: float
    told: bytes = b"{}"


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """Worker to server: the version cannot be loaded. `told` is `PenstockError.to_dict()`."""

    told: bytes


class Notice(msgspec.Struct, tag="notice", frozen=True):
    """Worker to server: something worth showing changed, e.g. why batching is on or off."""

    told: bytes


ToWorker = Load | Cancel | Stop
FromWorker = Ready | Failed | Notice

MESSAGE_LIMIT = 16 * 1024 * 1024  # largest message that a worker accepts


def pack_message(message: msgspec.Struct) -> bytes:
    """Return a message with its length in front (u32, little endian; body is msgpack)."""
    body = msgspec.msgpack.encode(message)
    return _SIZE.pack(len(body)) + body


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def unpack_message(frame: memoryview | bytes, kind: Any) -> Any:
    """Return the message in `frame` as one of the types of `kind`, or raise `FrameError`."""
    try:
        return _decoder(kind).decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"A message cannot be read: {error}.") from None
