"""Waiting for the next call: asleep, or awake for a moment where it is about to come.

To wake a process that sleeps takes longer than a small model does. A caller that sends its next
request as soon as it has its answer is back before a sleep was worth it, so a worker whose calls
came that close together looks again and again for a moment before it sleeps. It stops doing so as
soon as calls take longer to come: a worker with few calls, or many to share the cores with, sleeps.
Used by `intake`.
"""

from __future__ import annotations

import os
import select
import socket
import time

#: Longest time awake before a sleep, in nanoseconds.
_AWAKE_NS = 250_000

#: A longer wait counts as this one.
_FAR_NS = 4 * _AWAKE_NS

#: What the latest wait counts for in the mean of the past ones.
_LATEST = 0.25

_now = time.monotonic_ns
_give_way = getattr(os, "sched_yield", int)


class Watch:
    """Learns how long calls take to come, and stays awake for those that come soon.

    Args:
        sock: Where calls come from.
        cores: Processors this process may use; with one there is nobody to stay awake beside.
    """

    def __init__(self, sock: socket.socket, cores: int | None = None) -> None:
        self._ready = select.poll()
        self._ready.register(sock, select.POLLIN)
        self._may = (cores or _cores()) > 1
        self._mean_ns = float(_FAR_NS)
        self._began = 0

    @property
    def stays_awake(self) -> bool:
        """Whether the next call is expected soon enough to stay awake for it."""
        return self._may and self._mean_ns < _AWAKE_NS

    def begin(self) -> None:
        """Wait a moment for a call if one is expected; the caller then sleeps until it comes."""
        self._began = now = _now()
        if self.stays_awake:
            poll, until = self._ready.poll, now + _AWAKE_NS
            while not poll(0) and now < until:
                _give_way()  # who is to bring the call may be waiting for this very core
                now = _now()

    def end(self) -> None:
        """A call has come."""
        took = min(_now() - self._began, _FAR_NS)
        self._mean_ns += _LATEST * (took - self._mean_ns)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
