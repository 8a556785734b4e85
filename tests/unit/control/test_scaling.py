"""The limits of a deployment's replicas: who says what, and which word holds."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.control.scaling import changed, scale_of, with_deploy
from penstock.core.errors import InvalidSetting
from penstock.core.records import Scaling, VersionSettings
from penstock.engine.base import Scale


@pytest.mark.parametrize(
    ("replicas", "scaling", "expected"),
    [
        ("auto", Scaling(), Scale(1, None, 60.0)),
        (3, Scaling(), Scale(3, 3, 60.0)),
        ("auto", Scaling(0, None, 5.0), Scale(0, None, 5.0)),
        ("auto", Scaling(2, 4), Scale(2, 4, 60.0)),
        (3, Scaling(0), Scale(0, 3, 60.0)),
        (3, Scaling(max_replicas=2), Scale(2, 2, 60.0)),
        (1, Scaling(min_replicas=4), Scale(4, 4, 60.0)),
    ],
)
def test_the_deployments_limits_come_first_then_the_versions(
    replicas: Any, scaling: Scaling, expected: Scale
) -> None:
    assert scale_of(VersionSettings(replicas=replicas), scaling) == expected


def test_only_what_is_given_changes_and_none_takes_a_limit_back() -> None:
    scaling = changed(Scaling(), {"min_replicas": 0, "cooldown_s": 5.0})
    assert scaling == Scaling(0, None, 5.0)
    assert changed(scaling, {"max_replicas": 2}) == Scaling(0, 2, 5.0)
    assert changed(scaling, {"min_replicas": None}) == Scaling(None, None, 5.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_replicas": -1}, "min_replicas is -1"),
        ({"max_replicas": 0}, "max_replicas is 0"),
        ({"cooldown_s": 0}, "cooldown_s is 0"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas is 3 and max_replicas is 2"),
    ],
)
def test_limits_that_cannot_hold_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        changed(Scaling(), changes)


def test_a_fixed_number_in_a_deploy_takes_older_limits_back() -> None:
    assert with_deploy(VersionSettings(), {}) == {}
    fixed = with_deploy(VersionSettings(replicas=2), {"min_replicas": 0})
    assert fixed == {"min_replicas": 0, "max_replicas": None}
