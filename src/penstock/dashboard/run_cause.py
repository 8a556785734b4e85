"""What a failed run has in common with others: how often, since when, in which versions.

Also whether its function changed since the version before, which did not fail so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from penstock.control.insight.run_details import ALIKE_MOST
from penstock.control.insight.run_list import RunSummary
from penstock.core.errors import NotFound
from penstock.core.insight_records import Alike
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit
from penstock.dashboard.words import day, plural


class Cause(NamedTuple):
    """A failed run beside others.

    Attributes:
        same: How often it happened, since when and where: 31 runs since today 14:12, only v15.
        older: The version before the one that failed, if there is one.
        story: What that one says of it, as a sentence; empty when it says nothing.
    """

    same: str = ""
    older: int | None = None
    story: str = ""


async def cause_of(
    visit: Visit, parts: Parts, run: RunSummary, key: str, called: Collection[int]
) -> Cause:
    """Return what is known of a failed run's cause.

    Args:
        visit: Who looks.
        parts: The use cases.
        run: The run.
        key: Key of the function that failed, as in the code of its version; empty if unknown.
        called: Versions that were called, and so could have failed likewise.
    """
    if run.state != "failed" or run.version is None:
        return Cause()
    alike = await parts.details.alike(run)
    older = await _older(visit, parts, run)
    if older is None:
        return Cause(_same(alike))
    story = ""
    if alike and older in called and older not in {one.version for one in alike}:
        changed = await _changed(visit, parts, run, older, key)
        story = f"v{older} did not raise it{changed}"
    return Cause(_same(alike), older, story)


def _same(alike: Sequence[Alike]) -> str:
    if not alike:
        return ""
    total, first = sum(one.runs for one in alike), min(one.first for one in alike)
    often = plural(total, "run") + (" or more" if total >= ALIKE_MOST else "")
    versions = ", ".join(f"v{one.version}" for one in alike)
    return f"{often} since {day(first)}, {'only ' if len(alike) == 1 else ''}{versions}"


async def _older(visit: Visit, parts: Parts, run: RunSummary) -> int | None:
    """Return the version before the one that failed."""
    try:
        view = await parts.deployments.get(visit.project, run.deployment)
    except NotFound:
        return None
    return next((v.number for v in view.versions if v.number < (run.version or 0)), None)


async def _changed(visit: Visit, parts: Parts, run: RunSummary, older: int, key: str) -> str:
    """Return whether the function changed between two versions, as the end of a sentence."""
    if not key or run.version is None:
        return ""
    try:
        then = (await parts.code.of(visit.project, run.deployment, older)).part(key)
        now = (await parts.code.of(visit.project, run.deployment, run.version)).part(key)
    except NotFound:
        return ""
    if then is None or now is None:
        return ""
    same = (then.own or then.text) == (now.own or now.text)
    return ", though this function is the same" if same else ", and this function changed since"
