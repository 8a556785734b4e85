"""Finds the run of an address, for those who may see it."""

from __future__ import annotations

import asyncio

from penstock.control.insight.run_details import RunDetails
from penstock.core.errors import NotFound
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit

#: A call that was just answered is written within a second or two; so often it is looked for.
_FRESH_TRIES, _FRESH_PAUSE_S = 16, 0.25


async def seen_run(visit: Visit, parts: Parts) -> RunDetails:
    """Return the run of the address. Raises `NotFound`, also if the key does not see it."""
    found = await _found(visit, parts, _FRESH_TRIES if visit.query("fresh") else 0)
    if not visit.sees(found.run.deployment):
        raise NotFound(f"This key sees no run {found.run.run_id[:64]!r}.")
    return found


async def _found(visit: Visit, parts: Parts, tries: int) -> RunDetails:
    """Return the run; one that has just ended is kept a moment later, and waited for."""
    run_id = visit.request.path_params["run_id"]
    for _ in range(tries):
        try:
            return await parts.details.get(visit.project, run_id, with_traceback=visit.may_deploy)
        except NotFound:  # noqa: PERF203 - four times a second
            await asyncio.sleep(_FRESH_PAUSE_S)
    return await parts.details.get(visit.project, run_id, with_traceback=visit.may_deploy)
