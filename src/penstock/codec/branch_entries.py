"""Checks the branches that a manifest declares. Called by `penstock.codec.bundle.read_manifest`.

A manifest comes from outside: whatever the client refuses to write is refused here again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.core.branches import COMBINATIONS, PARALLEL, SWITCH, is_branch_name
from penstock.core.errors import InvalidManifest
from penstock.core.numbers import InBranch

if TYPE_CHECKING:
    from penstock.codec.bundle import BranchesEntry, StageEntry

#: How deep branches may be inside branches.
DEEPEST = 8


def check_branches(number: int, stage: StageEntry, depth: int = 0) -> None:
    """Raise `InvalidManifest` if a stage's branches, or those inside them, make no sense."""
    inner = stage.branches
    if (inner is not None) is not (stage.model_type in {PARALLEL, SWITCH}):
        raise _wrong(number, f"is a {stage.model_type!r} and its branches are {inner!r:.60}")
    if inner is None:
        return
    if depth >= DEEPEST:
        raise _wrong(number, f"has branches {DEEPEST + 1} deep; {DEEPEST} are allowed")
    _check_names(number, inner)
    if (stage.model_type == SWITCH) is not (inner.choose is not None):
        raise _wrong(number, "needs a function that chooses if, and only if, it is a switch")
    if inner.ready is not None and inner.ready not in COMBINATIONS:
        raise _wrong(number, f"combines by {inner.ready!r}, which this server does not know")
    for branch in inner.flows:
        for own, each in enumerate(branch.stages, 1):
            check_branches(InBranch(number, branch.name, own), each, depth + 1)


def _check_names(number: int, inner: BranchesEntry) -> None:
    names = [branch.name for branch in inner.flows]
    if not names or len(set(names)) < len(names) or not all(map(is_branch_name, names)):
        raise _wrong(number, f"has branches of the names {names!r:.200}")
    if inner.default is not None and inner.default not in names:
        raise _wrong(number, f"has the default {inner.default!r}, which is none of its branches")


def _wrong(number: int, what: str) -> InvalidManifest:
    return InvalidManifest(f"Stage {number} of the manifest {what}.", stage=number)
