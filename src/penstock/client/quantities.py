"""The numbers among the options of a deploy: of the right kind and size, before anything is sent.

Called by `penstock.client.options`. Numbers of NumPy are taken as Python's own, since they come out
of the same notebook as the model.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from penstock.core.errors import InvalidSetting
from penstock.core.limits import OF_SCALING, OF_VERSIONS, Range, check_fewest, check_within

#: Options that are counts, with their ranges.
COUNTS: dict[str, Range] = {
    **{name: OF_VERSIONS[name] for name in ("replicas", "max_batch", "threads", "max_queue")},
    **{name: OF_VERSIONS[name] for name in ("concurrency", "gpu")},
    "memory_limit": OF_VERSIONS["memory_limit_bytes"],
    "min_replicas": OF_SCALING["min_replicas"],
    "max_replicas": OF_SCALING["max_replicas"],
}

#: Options that may have a fraction.
AMOUNTS: dict[str, Range] = {
    "timeout_s": OF_VERSIONS["timeout_s"],
    "cooldown": OF_SCALING["cooldown_s"],
    "cpu": (0.01, OF_VERSIONS["threads"][1]),
    "memory": (0.001, OF_VERSIONS["memory_limit_bytes"][1] / (1 << 30)),
}


def checked_numbers(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their numbers as Python's own.

    Raises:
        InvalidSetting: One is no number, no whole number, or out of its range; or the fewest
            replicas are more than the most.
    """
    found = dict(options)
    for name, value in options.items():
        if name == "replicas" and value == "auto":
            continue
        if name in COUNTS:
            found[name] = _number(name, value, operator.index, "a whole number", COUNTS[name])
        elif name in AMOUNTS:
            found[name] = _number(name, value, _amount, "a number", AMOUNTS[name])
    check_fewest(found.get("min_replicas"), found.get("max_replicas"))
    return found


def _number(
    name: str, value: Any, convert: Callable[[Any], Any], kind: str, limits: Range
) -> int | float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number: int | float = convert(value)
    except TypeError:
        also = ' or "auto"' if name == "replicas" else ""
        raise InvalidSetting(f"{name} is {value!r}; it must be {kind}{also}.") from None
    check_within(name, number, limits)
    return number


def _amount(value: Any) -> int | float:
    if isinstance(value, (str, bytes)):
        raise TypeError
    return value if isinstance(value, int) else float(value)
