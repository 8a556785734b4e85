"""What a memory item counts for, when a namespace is too full, and how numbers are added.

Pure functions, called by the memory stores, so that every store refuses the same things in the
same words.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from penstock.core.errors import Conflict, MemoryQuotaExceeded
from penstock.stores.base import MemoryQuota, Namespace

#: What a number counts for, in bytes.
NUMBER_BYTES = 8

_INT64 = 2**63


class Usage(NamedTuple):
    """Names and bytes of a namespace, expired ones too until they are deleted."""

    names: int
    bytes: int


def size_of(quota: MemoryQuota, namespace: Namespace, name: str, value: bytes | None) -> int:
    """Return the bytes an item counts for; `value` None is a number.

    Raises:
        MemoryQuotaExceeded: The name or the value alone is too large.
    """
    name_size = len(name.encode())
    value_size = NUMBER_BYTES if value is None else len(value)
    if name_size > quota.name_bytes:
        raise MemoryQuotaExceeded(
            f"A memory name of {name_size} bytes was given in {shown(namespace)}; the limit is "
            f"{quota.name_bytes} bytes.",
            hint="Use a shorter name.",
        )
    if value_size > quota.value_bytes:
        raise MemoryQuotaExceeded(
            f"The value saved as {name!r} in {shown(namespace)} has {value_size} bytes; the limit "
            f"of one value is {quota.value_bytes} bytes.",
            hint="Save something smaller, or save it in several parts.",
        )
    return name_size + value_size


def fits(quota: MemoryQuota, before: Usage, after: Usage) -> bool:
    """Whether a namespace may go from `before` to `after`. Getting smaller is always allowed."""
    bytes_fit = after.bytes <= quota.total_bytes or after.bytes <= before.bytes
    names_fit = after.names <= quota.names or after.names <= before.names
    return bytes_fit and names_fit


def too_full(quota: MemoryQuota, namespace: Namespace, after: Usage) -> MemoryQuotaExceeded:
    """Return the error for a namespace that would hold `after`."""
    return MemoryQuotaExceeded(
        f"The memory of {shown(namespace)} would hold {after.names} names and {after.bytes} "
        f"bytes; the limits are {quota.names} names and {quota.total_bytes} bytes.",
        hint="Delete names that are not needed, or save them with a ttl.",
    )


def total(name: str, before: int | float, by: int | float) -> int | float:
    """Return `before + by`.

    Raises:
        Conflict: The sum is no finite number of 64 bits.
    """
    number: int | float
    try:
        number = before + by
        legal = -_INT64 <= number < _INT64 if isinstance(number, int) else math.isfinite(number)
    except OverflowError:
        legal, number = False, 0
    if not legal:
        raise Conflict(
            f"Adding {by!r} to {name!r} gives no finite number of 64 bits.",
            hint="Count in smaller steps, or delete the name to begin again from 0.",
        )
    return number


def shown(namespace: Namespace) -> str:
    """Return a namespace as people read it."""
    project, deployment = namespace
    return f"{project}/{deployment}" if deployment else f"project {project}"
