"""How many replicas a deployment may have: the rules, without the doing.

A deployment's own limits (`Scaling`) outlive its versions; where they say nothing, the version's
`replicas` does. `penstock.control.serving` hands the outcome to the pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.core.errors import InvalidSetting
from penstock.core.records import Scaling, VersionSettings
from penstock.engine.base import Scale

#: Seconds after the last call, where nobody says.
COOLDOWN_S = 60.0

_RANGES: dict[str, tuple[float, float]] = {
    "min_replicas": (0, 64),
    "max_replicas": (1, 64),
    "cooldown_s": (0.05, 7 * 86400.0),
}


def changed(scaling: Scaling, changes: Mapping[str, Any]) -> Scaling:
    """Return `scaling` with `changes`, by name; None takes a limit back.

    Raises:
        InvalidSetting: A limit is out of range, or the fewest are more than the most.
    """
    for name, (least, most) in _RANGES.items():
        value = changes.get(name)
        if value is not None and not least <= value <= most:
            raise InvalidSetting(f"{name} is {value}; it must be from {least:g} to {most:g}.")
    new = replace(scaling, **changes)
    low, high = new.min_replicas, new.max_replicas
    if low is not None and high is not None and low > high:
        raise InvalidSetting(
            f"min_replicas is {low} and max_replicas is {high}.",
            hint="Give both; the fewest may not be more than the most.",
        )
    return new


def with_deploy(settings: VersionSettings, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a deploy changes of its deployment's limits.

    A fixed number of replicas is meant to hold, so it takes older limits back.
    """
    if settings.replicas == "auto":
        return dict(changes)
    return {"min_replicas": None, "max_replicas": None, **changes}


def scale_of(settings: VersionSettings, scaling: Scaling) -> Scale:
    """Return how many replicas a version may have in a deployment with `scaling`."""
    fixed = None if settings.replicas == "auto" else settings.replicas
    low, high = scaling.min_replicas, scaling.max_replicas
    if high is None and fixed is not None:
        high = max(fixed, low or 0)
    if low is None:
        low = fixed or 1
        low = low if high is None else min(low, high)
    cooldown_s = COOLDOWN_S if scaling.cooldown_s is None else scaling.cooldown_s
    return Scale(low, high, cooldown_s)
