"""How many connections each client address holds. One `Addresses` per gateway process."""

from __future__ import annotations

from penstock.core.errors import Overloaded


class Addresses:
    """Counts connections by client address; addresses without connections are forgotten."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def add(self, address: str) -> int:
        """Count a connection; return how many the address has with it."""
        held = self._held[address] = self._held.get(address, 0) + 1
        return held

    def remove(self, address: str) -> None:
        """Count a connection no more."""
        left = self._held[address] - 1
        if left:
            self._held[address] = left
        else:
            del self._held[address]


def too_many_connections(address: str) -> Overloaded:
    """Return the error for one connection too many."""
    return Overloaded(
        f"The address {address} has too many connections to this server.",
        hint="Keep connections and send further requests over them, or raise the server's "
        "max_connections_per_address.",
        retry_after_s=1,
    )
