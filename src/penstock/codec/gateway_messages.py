"""What the server process and an extra gateway tell each other, beside calls and connections.

Msgpack with a length prefix (`worker_messages.pack_message`) on the gateway's control socket. The
server process tells everything a gateway must know before it matters; `Sync` is how it learns that
all it said before is in force. Keys travel as their SHA-256. Used by `penstock.control` and
`wiring`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from penstock.codec.worker_messages import MESSAGE_LIMIT, unpack_message
from penstock.core.errors import FrameError

#: Media of a reply to an extra gateway that is an error object and not a body.
MEDIA_ERROR = 255


#: Flag of a forwarded call that is to become an asynchronous run.
AS_RUN = 128


class AllowKey(msgspec.Struct, tag="allow_key", frozen=True):
    """A key is valid: its SHA-256 and what it may do; see `core.records.KeyRecord`."""

    key_id: str
    digest: bytes
    prefix: str
    scope: str
    project: str | None
    deployments: list[str] | None = None
    expires_at: float | None = None


class RefuseKey(msgspec.Struct, tag="refuse_key", frozen=True):
    """A key is not valid any more."""

    digest: bytes


class AddPath(msgspec.Struct, tag="add_path", frozen=True):
    """Calls to a path are predict calls of a deployment."""

    path: bytes
    project: str
    deployment: str
    max_body: int


class RemovePath(msgspec.Struct, tag="remove_path", frozen=True):
    """Calls to a path are no predict calls any more."""

    path: bytes


class Serve(msgspec.Struct, tag="serve", frozen=True):
    """All that is known has been said: accept connections, within these limits."""

    limits: dict[str, Any]


class Sync(msgspec.Struct, tag="sync", frozen=True):
    """Answer with `Synced` of the same number."""

    number: int


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Accept nothing more, answer calls in hand within `seconds`, then end."""

    seconds: float


class Listening(msgspec.Struct, tag="listening", frozen=True):
    """The gateway accepts connections."""


class Synced(msgspec.Struct, tag="synced", frozen=True):
    """Everything said before the `Sync` of this number is in force."""

    number: int


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """Predict requests that the gateway refused since it last said so, by the error's code."""

    codes: dict[str, int]


ToGateway = AllowKey | RefuseKey | AddPath | RemovePath | Serve | Sync | Drain
FromGateway = Listening | Synced | Refused


async def receive(reader: asyncio.StreamReader, kind: Any) -> AsyncIterator[Any]:
    """Yield the messages of `kind` until the other side closes its end.

    Raises:
        FrameError: Something came that is no such message.
    """
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "little")
            if size > MESSAGE_LIMIT:
                raise FrameError(f"A message of {size} bytes is announced.")
            yield unpack_message(await reader.readexactly(size), kind)
    except (asyncio.IncompleteReadError, OSError):
        return
