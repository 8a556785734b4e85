"""Secrets of a project: names, setting, deleting. A value is never shown."""

from __future__ import annotations

from penstock.core.errors import InvalidName, InvalidSetting
from penstock.core.records import Scope
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit


async def secrets(visit: Visit, parts: Parts, problem: str = "", name: str = "") -> Page:
    """Answer the names of the project's secrets."""
    found = await parts.secrets.list(visit.project)
    prefixes = {k.prefix: k.label or k.prefix for k in await parts.keys.list(visit.project)}
    values = {
        "here": "secrets",
        "secrets": found,
        "prefixes": prefixes,
        "problem": problem,
        "name": name,
    }
    return Page("secrets.html", values, status=422 if problem else 200)


async def set_secret(visit: Visit, parts: Parts) -> Page | Go:
    """Set a secret; workers that run see it within seconds."""
    visit.require(Scope.DEPLOY)
    fields = await visit.form()
    name = fields.get("name", "").strip()
    try:
        new = await parts.secrets.set(
            visit.project, name, fields.get("value", ""), visit.key.prefix
        )
    except (InvalidName, InvalidSetting) as error:
        return await secrets(visit, parts, error.message, name)
    return Go(f"{visit.base}/secrets", f"{name} is {'set' if new else 'changed'}.")


async def delete_secret(visit: Visit, parts: Parts) -> Go:
    """Forget a secret."""
    visit.require(Scope.DEPLOY)
    name = visit.request.path_params["secret"]
    await parts.secrets.delete(visit.project, name)
    return Go(f"{visit.base}/secrets", f"{name} is deleted.")
