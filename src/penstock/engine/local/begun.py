"""The page a worker shares with the server: which calls it has begun, and where it is.

Calls go to a worker in the order of their ids, so one number says it all: every call up to
`last_begun` is inside the worker, every later one is still in its socket. When a worker dies the
server reads the page: calls inside fail, the others go to another replica. Writing costs the worker
about 0.2 microseconds a round; nothing is sent.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from penstock.codec import memfile
from penstock.engine.local import seats
from penstock.engine.local.seats import Seats

_PAGE = struct.Struct("<QII")
_ID = struct.Struct("<Q")
_PLACE = struct.Struct("<II")

#: What the worker is doing within a stage; 0 when it did not say.
PARTS = ("", "pre", "model", "post", "choose", "combine")


class Place(NamedTuple):
    """How far a worker got. `stage` counts from 1, 0 when unknown; `part` is one of `PARTS`."""

    last_begun: int
    stage: int
    part: str
    seats: Mapping[int, tuple[int, int]] = MappingProxyType({})

    def of(self, call_id: int) -> Place:
        """Return the place of one call: its seat's, where the worker has seats."""
        if not self.seats:
            return self
        stage, part = self.seats.get(call_id, (0, 0))
        return Place(self.last_begun, stage, _name(part))


def create() -> int:
    """Return the descriptor of a new page of zeros, sealed against shortening."""
    fd = memfile.open_empty("penstock-begun")
    os.ftruncate(fd, seats.PAGE_BYTES)
    memfile.seal(fd)
    return fd


def read(fd: int) -> Place:
    """Return what the worker wrote last. Reads, never maps: the worker may do what it likes."""
    raw = os.pread(fd, _PAGE.size, 0)
    if len(raw) < _PAGE.size:
        return Place(0, 0, "")
    last, stage, part = _PAGE.unpack(raw)
    return Place(last, stage, _name(part), seats.read(fd))


def _name(part: int) -> str:
    return PARTS[part] if part < len(PARTS) else ""


class BegunPage:
    """The worker's side of the page."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, seats.PAGE_BYTES)

    @property
    def last_begun(self) -> int:
        """The last call that was begun; 0 before the first."""
        last: int = _ID.unpack_from(self._page, 0)[0]
        return last

    def begin(self, call_id: int) -> None:
        """Say that every call up to `call_id` is begun."""
        _ID.pack_into(self._page, 0, call_id)

    def seats(self, count: int) -> Seats:
        """Return the seats of a worker that holds up to `count` calls at once."""
        return Seats(self._page, count)

    def at(self, stage: int, part: int) -> None:
        """Say where the run is: stage from 1, `part` an index into `PARTS`."""
        _PLACE.pack_into(self._page, 8, stage, part)
