"""Which addresses the server may connect to when a caller names them.

A webhook makes the server a client of whoever is named, and the server sits where its callers do
not: beside databases, dashboards and the cloud's metadata service. So only public addresses are
connected to, unless the operator allows more with the setting `webhook_allow`.
Used by `webhook_urls` (at submit) and by `outgoing` (at every connection).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from penstock.core.errors import InvalidSetting

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Not public, whatever the tables of this Python's `ipaddress` say: they differ between releases.
_CLOSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    )
)

#: All there is of public IPv6 so far: whatever lies elsewhere is for some other use.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

#: Ports of a public address that a webhook may use; 1 to 1023 otherwise belong to other protocols.
_WEB_PORTS = frozenset({80, 443})
_FIRST_FREE_PORT = 1024

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\.?")
_NUMBERS = re.compile(r"[0-9.]+")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, and what it stands for does too.

    An IPv6 address may carry an IPv4 one (mapped, 6to4, NAT64): then that one decides.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        carried = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if carried is not None:
            return is_public(carried)
        if address not in _PUBLIC_V6:
            return False
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


@dataclass(frozen=True)
class _Entry:
    """One entry of the setting: a network or a host name or neither (any), and a port or any."""

    network: Network | None
    host: str
    port: int | None

    def admits(self, host: str, address: Address, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        if self.host:
            return self.host == host
        return is_public(address)


class Allowance:
    """What the operator allows beyond public addresses.

    Args:
        text: Entries with commas between: an address (`10.0.0.5`), a network (`10.0.0.0/8`), a
            host name (`hooks.internal`), each with or without a port (`10.0.0.5:8080`,
            `[fd00::1]:8080`, `[fd00::/8]:8080`), or a port alone (`:25`) of any public address.

    Raises:
        InvalidSetting: An entry is none of these.
    """

    def __init__(self, text: str = "") -> None:
        self._entries = [_entry(part.strip()) for part in text.split(",") if part.strip()]

    def admits(self, host: str, address: Address, port: int) -> bool:
        """Whether the server may connect to `address`, which `host` resolved to, at `port`."""
        if is_public(address) and (port in _WEB_PORTS or port >= _FIRST_FREE_PORT):
            return True
        carried = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        meant = carried or address
        return any(entry.admits(host, meant, port) for entry in self._entries)

    def may_admit(self, host: str, port: int) -> bool:
        """Whether `host` at `port` could be admitted, as far as that shows without a look-up."""
        names_it = any(entry.host == host and entry.port in {None, port} for entry in self._entries)
        if names_it:
            return True
        if host == "localhost" or host.endswith(".localhost"):
            loopback = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
            return any(self.admits(host, address, port) for address in loopback)
        if port in _WEB_PORTS or port >= _FIRST_FREE_PORT:
            return True
        return any(entry.port == port or entry.network is not None for entry in self._entries)


def _entry(text: str) -> _Entry:
    host, port = _split(text)
    if not host and port is not None:
        return _Entry(None, "", port)
    try:
        return _Entry(ipaddress.ip_network(host, strict=False), "", port)
    except ValueError:
        name = host.lower()
    if not _NAME.fullmatch(name) or _NUMBERS.fullmatch(name):
        raise _not_an_entry(text)
    return _Entry(None, name.removesuffix("."), port)


def _split(text: str) -> tuple[str, int | None]:
    """Return host (or network) and port of an entry; brackets go."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        length, colon, port = rest.partition(":")
        host += length
    elif text.count(":") > 1:
        host, colon, port = text, "", ""
    else:
        host, colon, port = text.partition(":")
    if not colon:
        return host, None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise _not_an_entry(text)
    return host, int(port)


def _not_an_entry(text: str) -> InvalidSetting:
    return InvalidSetting(
        f"webhook_allow has the entry {text!r}, which is no address, network or host name.",
        hint="Write entries such as 10.0.0.5, 10.0.0.0/8, [fd00::/8]:8080 or hooks.internal:8080.",
    )


#: Public addresses only.
NOTHING_MORE = Allowance()
