"""Memory files for large request bodies that are used again, so that no page is made anew.

Making a memory file of 400 KB, writing it, mapping it elsewhere and letting it go costs about
250 µs, nearly all of it for the kernel's pages. A `BodyFile` is mapped once by the server, which
receives bodies straight into it, and once by each worker (`Mappings`), which copies a body out of
it before it begins the call: two copies of about 10 µs each.

A worker keeps its map, so it can read what the file holds next: files are used again only within
one deployment. The file is sealed: a worker can neither shorten it nor write to it.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections import OrderedDict, deque

from penstock.codec import memfile
from penstock.core.errors import InternalError

#: Bodies over this many bytes get a file of their own: copying them out would cost more.
LARGEST = 4 * 1024 * 1024

_SMALLEST = 512 * 1024
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)

#: What a worker, and the shelf of a server, keep at most.
_MAPPED_BYTES = 8 * 1024 * 1024
_KEPT_BYTES = 32 * 1024 * 1024


class BodyFile:
    """One memory file, mapped for writing.

    Attributes:
        capacity: Its size in bytes.
        view: Its bytes.
    """

    __slots__ = ("_fd", "_owner", "_shelf", "capacity", "view")

    def __init__(self, shelf: Shelf, owner: str, capacity: int) -> None:
        self._shelf = shelf
        self._owner = owner
        self.capacity = capacity
        self._fd = memfile.open_empty("penstock-body")
        os.ftruncate(self._fd, capacity)
        # Its pages are made as bytes come, not when they are announced; the next body finds them.
        self.view = memoryview(mmap.mmap(self._fd, capacity, flags=mmap.MAP_SHARED))
        memfile.seal(self._fd, writable=False)

    def __del__(self) -> None:
        """Close the descriptor; the map goes with `view`."""
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def descriptor(self) -> int:
        """Return a descriptor of the file that belongs to the caller."""
        return os.dup(self._fd)

    def give_back(self) -> None:
        """Let the file be used again: whoever was to read it has, and will not look again."""
        self._shelf.keep(self._owner, self)


class Shelf:
    """The files of one server that nobody uses just now."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._kept = 0
        self._free: OrderedDict[tuple[str, int], deque[BodyFile]] = OrderedDict()

    @property
    def free(self) -> int:
        """How many files nobody uses just now."""
        return sum(len(files) for files in self._free.values())

    def take(self, owner: str, size: int) -> BodyFile:
        """Return a file of `size` bytes or more.

        Args:
            owner: Whose bodies it may hold: a file given back is lent to the same owner only.
            size: In bytes, `LARGEST` at most.

        Raises:
            OSError: There is no memory or no descriptor for one.
        """
        capacity = max(_SMALLEST, 1 << (size - 1).bit_length())
        free = self._free.get((owner, capacity))
        if not free:
            return BodyFile(self, owner, capacity)
        file = free.pop()
        self._kept -= capacity
        if not free:
            del self._free[owner, capacity]
        return file

    def keep(self, owner: str, file: BodyFile) -> None:
        """Take a file back; of too many those go whose owner has been quiet the longest."""
        key = owner, file.capacity
        self._free.setdefault(key, deque()).append(file)
        self._free.move_to_end(key)
        self._kept += file.capacity
        while self._kept > self._most:
            oldest, files = next(iter(self._free.items()))
            self._kept -= files.popleft().capacity
            if not files:
                del self._free[oldest]

    def close(self) -> None:
        """Let go of all files, and keep none from now on."""
        self._most = self._kept = 0
        self._free.clear()


class Mappings:
    """A worker's maps of the files that bodies come in."""

    def __init__(self, mapped_bytes: int = _MAPPED_BYTES) -> None:
        self._most = mapped_bytes
        self._mapped = 0
        self._known: OrderedDict[int, memoryview] = OrderedDict()

    def copy(self, fd: int, size: int) -> bytes:
        """Return a copy of the first `size` bytes of a body file.

        Args:
            fd: Its descriptor; may be closed afterwards.
            size: In bytes.

        Raises:
            InternalError: It is no regular file or has fewer bytes than announced.
        """
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size < size:
            raise InternalError(f"A body of {size} bytes was announced and is not there.")
        view = self._known.get(found.st_ino)
        if view is None:
            view = self._map(fd, found)
        else:
            self._known.move_to_end(found.st_ino)
        return bytes(view[:size])

    def _map(self, fd: int, found: os.stat_result) -> memoryview:
        flags = mmap.MAP_SHARED | _POPULATE
        made = mmap.mmap(fd, found.st_size, flags=flags, prot=mmap.PROT_READ)
        view = self._known[found.st_ino] = memoryview(made)
        self._mapped += found.st_size
        while self._mapped > self._most and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._mapped -= len(oldest)
        return view
