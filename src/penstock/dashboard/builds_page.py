"""What happened while each version was deployed: its steps and the lines its worker printed."""

from __future__ import annotations

from penstock.control.status import DeploymentView
from penstock.core.errors import NotFound
from penstock.dashboard import states
from penstock.dashboard.deployment import header
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Page, Visit


async def builds(visit: Visit, parts: Parts) -> Page:
    """Answer the log of one deploy, and the list of the others."""
    values = await header(visit, parts, "builds")
    view: DeploymentView = values["view"]
    asked = visit.request.path_params.get("number")
    newest = view.versions[0].number if view.versions else 0
    number = int(asked) if asked is not None else newest
    version = next((v for v in view.versions if v.number == number), None)
    if asked is not None and version is None:
        raise NotFound(f"There is no version {number} of {view.name}.")
    shows, log = visit.may_deploy, None
    if version is not None:
        log = await parts.builds.get(visit.project, visit.name, number, with_traceback=shows)
    values |= {
        "number": number,
        "version_view": version,
        "log": log,
        "version_state": states.of_version,
        "installed": await parts.installed(),
    }
    return Page("builds.html", values, part=visit.part("live-block", "builds_live.html"))
