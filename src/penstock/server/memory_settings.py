"""The server's options about what processing functions save."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.codec.memory import MOST_VALUE_BYTES
from penstock.server.option import option

_MIB = 1024 * 1024


@dataclass(frozen=True)
class MemorySettings:
    """How much functions may save, of each value and in each deployment."""

    memory_value_bytes: int = option(
        "Largest value functions may save; 67108864 at most.",
        16 * _MIB,
        least=1024,
        most=MOST_VALUE_BYTES,
    )
    memory_total_bytes: int = option("Most bytes saved in one deployment.", 256 * _MIB, least=1024)
    memory_names: int = option("Most saved names in one deployment.", 100_000, least=1)
