"""How much is handed to a worker ahead of its work. Used by `dispatcher`.

Enough that it always finds the next batch in its socket; no more, because what still waits with the
server can go to another replica.
"""

from __future__ import annotations

from penstock.codec.frames import INLINE_LIMIT
from penstock.engine.base import Call, VersionSpec

#: Calls handed to a worker whose calls do not overlap, at most; and bytes of their bodies.
_CALLS = 256
_BYTES = 4 * 1024 * 1024

#: What a call costs besides its rows, as if so many bytes of body.
CALL_WEIGHT = 512


def weight_of(call: Call) -> int:
    """Return how much work a call is. Its rows are not known here, so they are counted in bytes."""
    return call.body.size + CALL_WEIGHT


def calls_ahead(spec: VersionSpec) -> int:
    """Return how many calls of a version one replica may have, those inside included."""
    if spec.concurrency > 1:
        return spec.concurrency + max(8, spec.concurrency // 2)
    return min(_CALLS, max(8, 2 * spec.max_batch))


def bytes_ahead(spec: VersionSpec) -> int:
    """Return how many bytes of bodies may be in its socket; those inside count, too."""
    return max(_BYTES, spec.concurrency * INLINE_LIMIT)
