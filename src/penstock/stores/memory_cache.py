"""A `MemoryStore` in front of another one, which remembers what was read last.

`control.database` puts it in front of whatever memory store is chosen. All methods run on the
database thread, but for `peek`, which the event loop calls to answer a hot read without waiting for
that thread. An entry changes in the same call that changes the store, before that call is
answered, so whoever was told "written" never reads the value from before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from penstock.stores.base import MemoryItem, MemoryStore, MemoryWrite, Namespace

#: Bytes of values the cache holds together, and of the largest value it takes.
CACHE_BYTES = 64 * 1024 * 1024
LARGEST_VALUE = 1024 * 1024

#: What an entry costs besides its value, roughly; keeps the number of small entries bounded.
_ENTRY_BYTES = 512


class MemoryCache:
    """Memory with a least-recently-used cache. See `MemoryStore` for what each method promises.

    Args:
        store: Where everything is kept.
        limit: Bytes the cache may hold.
    """

    def __init__(self, store: MemoryStore, limit: int = CACHE_BYTES) -> None:
        self._store = store
        self._limit = limit
        self._held = 0
        self._items: OrderedDict[tuple[Namespace, str], MemoryItem] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, namespace: Namespace, name: str, now: float) -> MemoryItem | None:
        """Return the value if it is in the cache; None says nothing. From any thread, at once."""
        key = (namespace, name)
        with self._lock:
            item = self._items.get(key)
            if item is None or (item.expires_at is not None and item.expires_at <= now):
                return None
            self._items.move_to_end(key)
            return item

    def read(self, namespace: Namespace, name: str, now: float) -> MemoryItem | None:
        """Return the value, or None."""
        item = self.peek(namespace, name, now)
        if item is None:
            item = self._store.read(namespace, name, now)
            if item is not None:
                self._remember(namespace, name, item)
        return item

    def publish(self, namespace: Namespace, writes: Sequence[MemoryWrite], now: float) -> int:
        """Apply all writes, in order, or none; return the stamp they all carry."""
        return self.publish_all([(namespace, writes)], now)

    def publish_all(
        self, groups: Sequence[tuple[Namespace, Sequence[MemoryWrite]]], now: float
    ) -> int:
        """Like `publish`, over several namespaces in one transaction."""
        stamp = self._store.publish_all(groups, now)
        for namespace, writes in groups:
            for write in writes:
                self._remember_write(namespace, write, stamp)
        return stamp

    def increment(
        self,
        namespace: Namespace,
        name: str,
        by: int | float,
        now: float,
        expires_at: float | None = None,
    ) -> MemoryItem:
        """Add to a number and return it; a missing name counts as 0."""
        item = self._store.increment(namespace, name, by, now, expires_at)
        self._remember(namespace, name, item)
        return item

    def swap(
        self,
        namespace: Namespace,
        name: str,
        expected_stamp: int,
        value: bytes,
        now: float,
        expires_at: float | None = None,
    ) -> int | None:
        """Write if the name still has `expected_stamp` (0: missing); None if it has not."""
        stamp = self._store.swap(namespace, name, expected_stamp, value, now, expires_at)
        if stamp is not None:
            self._remember(namespace, name, MemoryItem(stamp, value, None, expires_at))
        return stamp

    def names(self, namespace: Namespace, now: float) -> list[str]:
        """Return the names in a namespace, sorted."""
        return self._store.names(namespace, now)

    def clear(self, namespace: Namespace) -> None:
        """Forget a namespace."""
        self._store.clear(namespace)
        with self._lock:
            for key in [key for key in self._items if key[0] == namespace]:
                self._drop(key)

    def purge(self, now: float) -> int:
        """Delete what has expired; return how many names."""
        return self._store.purge(now)

    def close(self) -> None:
        """Close the store and forget everything."""
        with self._lock:
            self._items.clear()
            self._held = 0
        self._store.close()

    def _remember_write(self, namespace: Namespace, write: MemoryWrite, stamp: int) -> None:
        if write.value is None:
            with self._lock:
                self._drop((namespace, write.name))
        else:
            item = MemoryItem(stamp, write.value, None, write.expires_at)
            self._remember(namespace, write.name, item)

    def _remember(self, namespace: Namespace, name: str, item: MemoryItem) -> None:
        """Put an item in the place of the one before; let the oldest go if there are too many."""
        key = (namespace, name)
        with self._lock:
            self._drop(key)
            if _cost(item) > min(LARGEST_VALUE, self._limit):
                return
            self._items[key] = item
            self._held += _cost(item)
            while self._held > self._limit:
                self._drop(next(iter(self._items)))

    def _drop(self, key: tuple[Namespace, str]) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._held -= _cost(item)


def _cost(item: MemoryItem) -> int:
    return _ENTRY_BYTES + len(item.value or b"")
