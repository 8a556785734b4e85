"""Settings: of one deployment, changed live; of the server, shown with what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.core.errors import InvalidSetting
from penstock.core.records import Scope
from penstock.dashboard.deployment import header
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

#: The limits that are changed live: name, label, hint.
LIMITS = [
    ("min_replicas", "Replicas at least", "0 lets it idle until it is called"),
    ("max_replicas", "Replicas at most", "empty: as many as help, up to the number of cores"),
    ("cooldown_s", "Seconds without a call before it shrinks", "empty: 60"),
]


async def settings(visit: Visit, parts: Parts) -> Page:
    """Answer the server's settings, what is installed, and who changed what of late."""
    entries: Sequence[Any] = ()
    if visit.may_deploy:
        entries = await parts.audit.list(visit.project, None, 50)
    values = {
        "here": "settings",
        "settings": parts.settings(),
        "installed": await parts.installed(),
        "memory": parts.memory.machine_bytes(),
        "cores": parts.memory.cores(),
        "entries": entries,
        "sandbox": parts.sandbox(),
    }
    return Page("settings.html", values)


async def deployment_settings(
    visit: Visit, parts: Parts, given: dict[str, str] | None = None, problem: str = ""
) -> Page:
    """Answer the limits of a deployment as a form, and its version's settings."""
    values = await header(visit, parts, "settings")
    scaling = values["view"].scaling
    now = {name: getattr(scaling, name, None) for name, _label, _hint in LIMITS}
    shown = {name: "" if value is None else f"{value:g}" for name, value in now.items()}
    values |= {
        "limits": LIMITS,
        "given": given or shown,
        "problem": problem,
        "scaling": scaling,
    }
    return Page("deployment_settings.html", values, status=422 if problem else 200)


async def change_settings(visit: Visit, parts: Parts) -> Page | Go:
    """Change how many replicas a deployment may have; it holds at once."""
    visit.require(Scope.DEPLOY)
    fields = await visit.form()
    changes: dict[str, Any] = {}
    for name, label, _hint in LIMITS:
        text = fields.get(name, "").strip()
        try:
            changes[name] = None if not text else float(text) if name.endswith("_s") else int(text)
        except ValueError:
            return await deployment_settings(
                visit, parts, fields, f"{label}: {text[:40]!r} is no number."
            )
    try:
        await parts.deployments.scale(visit.project, visit.name, changes)
    except InvalidSetting as error:
        return await deployment_settings(
            visit, parts, fields, f"{error.message} {error.hint or ''}"
        )
    return Go(visit.of(visit.name, "settings"), "The limits hold from now on.")
