"""Which moves of versions and deployments are legal, and what the state of a deployment is."""

from __future__ import annotations

import itertools

import pytest

from penstock.core.errors import Conflict
from penstock.core.states import (
    DEPLOYMENT_MOVES,
    VERSION_MOVES,
    DeploymentState,
    VersionState,
    check_version_move,
    deployment_state,
)


def test_every_state_has_its_moves() -> None:
    assert set(DEPLOYMENT_MOVES) == set(DeploymentState)
    assert set(VERSION_MOVES) == set(VersionState)


def test_every_state_of_a_deployment_can_be_left_and_deleted() -> None:
    for state, moves in DEPLOYMENT_MOVES.items():
        assert moves
        assert state not in moves
        assert DeploymentState.DELETED in moves or state is DeploymentState.DELETED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (VersionState.READY, VersionState.WITHDRAWN),
        (VersionState.WITHDRAWN, VersionState.READY),
        (VersionState.WITHDRAWN, VersionState.DELETED),
    ],
)
def test_a_withdrawn_version_may_come_back_or_go(old: VersionState, new: VersionState) -> None:
    check_version_move(old, new)


def test_a_failed_version_never_serves() -> None:
    for new in (VersionState.READY, VersionState.WITHDRAWN):
        with pytest.raises(Conflict):
            check_version_move(VersionState.FAILED, new)


@pytest.mark.parametrize(
    ("active", "deploying", "ready", "starting", "state"),
    [
        (False, False, False, False, "unknown"),
        (False, True, False, False, "deploying"),
        (True, False, False, True, "starting"),
        (True, False, False, False, "cold"),
        (True, True, True, False, "active"),
        (True, False, True, True, "active"),
    ],
)
def test_the_state_of_a_deployment(
    active: bool, deploying: bool, ready: bool, starting: bool, state: str
) -> None:
    found = deployment_state(has_active=active, deploying=deploying, ready=ready, starting=starting)
    assert found.value == state


def test_a_deployment_always_has_a_state() -> None:
    for flags in itertools.product((False, True), repeat=4):
        names = ("has_active", "deploying", "ready", "starting")
        assert isinstance(deployment_state(**dict(zip(names, flags, strict=True))), DeploymentState)
