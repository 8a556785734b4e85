"""How many replicas a deployment may have: the rules, without the doing.

A deployment's own limits (`Scaling`) outlive its versions; where they say nothing, the version's
`replicas` does. `penstock.control.serving` hands the outcome to the pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.core.limits import OF_SCALING, check_fewest, check_within
from penstock.core.records import Scaling, VersionSettings
from penstock.engine.base import Scale

#: Seconds after the last call, where nobody says.
COOLDOWN_S = 60.0


def changed(scaling: Scaling, changes: Mapping[str, Any]) -> Scaling:
    """Return `scaling` with `changes`, by name; None takes a limit back.

    Raises:
        InvalidSetting: A limit is out of range, or the fewest are more than the most.
    """
    for name, limits in OF_SCALING.items():
        value = changes.get(name)
        if value is not None:
            check_within(name, value, limits)
    new = replace(scaling, **changes)
    check_fewest(new.min_replicas, new.max_replicas)
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
