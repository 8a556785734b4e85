"""Run ids for the hot path, where one at a time would cost too much. Used by `Predictor`."""

from __future__ import annotations

import os
import struct


class RunIds:
    """Fresh run ids (random UUIDs, version 4), made 256 at a time from one block of randomness."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        """Return an id that was never returned before."""
        ready = self._ready
        if not ready:
            ready.extend(_block_of_ids())
        return ready.pop()


_GROUPS = struct.Struct("8s4s4s4s12s")
_VERSION = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))


def _block_of_ids() -> list[str]:
    raw = bytearray(os.urandom(16 * 256))
    raw[6::16] = raw[6::16].translate(_VERSION)
    raw[8::16] = raw[8::16].translate(_VARIANT)
    groups = _GROUPS.iter_unpack(raw.hex().encode("ascii"))
    return [b"-".join(parts).decode("ascii") for parts in groups]
