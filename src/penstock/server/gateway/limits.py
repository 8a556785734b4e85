"""What the gateway accepts from a connection. Made from the server's settings in `wiring`."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.codec.frames import INLINE_LIMIT
from penstock.codec.multipart import MAX_PARTS


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds (checked once a second).

    Attributes:
        head_bytes: Request line and header fields together.
        head_fields: Number of header fields.
        address_bytes: The request's address (path and query).
        head_s: From the first byte of a request to the end of its header fields.
        body_s: From the end of the header fields to the end of the body, plus one second for each
            MiB; for bodies that are not predict bodies, the longest pause between two bytes.
        idle_s: A kept-alive connection without a request.
        linger_s: What a client that has been sent everything gets to go, if it may still be
            sending, before the connection is cut.
        stall_s: A client that does not read its answer, also if that is the last.
        pipelined: Predict calls of one connection that are worked on at the same time.
        connections_per_address: Connections of one client address to one process.
        hosts: Names that requests may address the server by, besides addresses; empty for any.
        cors: Whether scripts of other origins may call: such calls go to the app.
        parts: Parts of a multipart body, in which a webhook is looked for.
        unread_bytes: A refusal closes the connection rather than read more than this of a body.
    """

    head_bytes: int = 16 * 1024
    head_fields: int = 100
    address_bytes: int = 8 * 1024
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    linger_s: float = 2.0
    stall_s: float = 60.0
    pipelined: int = 32
    connections_per_address: int = 4096
    unread_bytes: int = INLINE_LIMIT
    hosts: frozenset[str] = frozenset()
    cors: bool = False
    parts: int = MAX_PARTS

    def body_time(self, size: int) -> float:
        """Return the seconds a predict body of `size` bytes may take."""
        return self.body_s + size / (1024 * 1024)
