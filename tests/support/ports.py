"""Ports for servers that are started again on the same one."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """Return a free TCP port that the system gives to nobody who asks for any port.

    So it is still free when what listened on it was killed and is started again.
    """
    handed_out = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    while True:
        port = random.randrange(10_000, int(handed_out[0]))
        with suppress(OSError), socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            return port
