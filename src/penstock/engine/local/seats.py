"""The seats of a worker that has several calls inside at once; written by it, read by the server.

They lie behind the numbers of `penstock.engine.local.begun` on the same page: one seat for each
call, with the call's id, its stage and the part of it. When the worker dies, the server tells each
caller how far that call had got. Which calls were inside at all it knows from `last_begun`: calls
are begun in the order of their ids, and those that are answered are no longer outstanding.
"""

from __future__ import annotations

import mmap
import os
import struct

#: Most calls that may be inside one worker.
MOST_SEATS = 1024

_COUNT = struct.Struct("<I")
_COUNT_AT = 16
_SEAT = struct.Struct("<QII")
_SEATS_AT = 64

#: Bytes of a page with room for all seats. What is never written takes no memory.
PAGE_BYTES = -(-(_SEATS_AT + MOST_SEATS * _SEAT.size) // mmap.PAGESIZE) * mmap.PAGESIZE


def read(fd: int) -> dict[int, tuple[int, int]]:
    """Return stage and part of the calls in the seats, by call id; empty where there are none."""
    raw = os.pread(fd, _COUNT.size, _COUNT_AT)
    count = min(_COUNT.unpack(raw)[0], MOST_SEATS) if len(raw) == _COUNT.size else 0
    raw = os.pread(fd, count * _SEAT.size, _SEATS_AT)
    whole = len(raw) - len(raw) % _SEAT.size
    found = _SEAT.iter_unpack(raw[:whole])
    return {call_id: (stage, part) for call_id, stage, part in found if call_id}


class Seats:
    """The worker's side.

    Args:
        page: The page, `PAGE_BYTES` long.
        count: How many calls may be inside at once.
    """

    def __init__(self, page: mmap.mmap, count: int) -> None:
        self._page = page
        _COUNT.pack_into(page, _COUNT_AT, count)

    def write(self, seat: int, call_id: int, stage: int, part: int) -> None:
        """Say where the call in a seat is; a call id of 0 empties the seat."""
        _SEAT.pack_into(self._page, _SEATS_AT + seat * _SEAT.size, call_id, stage, part)
