"""Names that a server is reached by, from `Host` fields and settings.

A page of another site may give its own name the address of this server (DNS rebinding); the name in
the `Host` field then is not one of ours. Addresses and `localhost` cannot be made to lie like that.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress


def name_of(authority: str) -> str:
    """Return the host of `host:port`, without the brackets of an IPv6 address."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_address(host: str) -> bool:
    """Whether the host is an IP address or this machine's name for itself."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine only."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def names_in(text: str) -> frozenset[str]:
    """Return the names in a setting, with commas between; ports are left out."""
    return frozenset(name_of(part.strip().lower()) for part in text.split(",") if part.strip())
