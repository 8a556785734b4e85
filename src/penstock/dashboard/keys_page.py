"""Keys of a project: list, make, revoke. The text of a new key is shown once and nowhere kept."""

from __future__ import annotations

import time

from penstock.control.key_grants import Grant
from penstock.core.errors import Forbidden, NotFound
from penstock.core.records import Scope
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Go, Page, Visit

_DAY_S = 86400.0

#: What each scope is for, in the words of the form.
SCOPES = {
    Scope.DEPLOY: "deploy: deploys, calls and reads",
    Scope.PREDICT: "predict: calls endpoints only",
    Scope.READ: "read: looks at everything, changes nothing",
}


async def keys(visit: Visit, parts: Parts, made: str = "", label: str = "") -> Page:
    """Answer the keys of the project, valid ones first."""
    found = await parts.keys.list(visit.project)
    now = time.time()
    values = {
        "valid": sum(not key.revoked_at and (key.expires_at or now + 1) > now for key in found),
        "here": "keys",
        "keys": sorted(found, key=lambda key: (key.revoked_at is not None, -key.created_at)),
        "scopes": SCOPES,
        "made": made,
        "made_label": label,
        "problem": "",
    }
    return Page("keys.html", values)


async def make_key(visit: Visit, parts: Parts) -> Page | Go:
    """Make a key and show it, this once."""
    visit.require(Scope.DEPLOY)
    fields = await visit.form()
    scope, label = Scope(fields.get("scope", "predict")), fields.get("label", "").strip()
    if scope is Scope.ADMIN:
        raise Forbidden("A project has no admin keys.")
    days, only = fields.get("days", "").strip(), fields.get("deployments", "")
    try:
        seconds = float(days) * _DAY_S if days else None
    except ValueError:
        return Go(f"{visit.base}/keys", f"{days[:20]!r} is no number of days.", failed=True)
    grant = Grant(
        label=label[:100],
        deployments=tuple(name.strip() for name in only.split(",") if name.strip()) or None,
        expires_in_s=seconds,
        created_by=visit.key.prefix,
    )
    grant = parts.keys.no_more_than(visit.key, grant)
    issued = await parts.keys.issue(scope, visit.project, grant=grant)
    return await keys(visit, parts, issued.text, label or issued.record.prefix)


async def revoke_key(visit: Visit, parts: Parts) -> Go:
    """Revoke a key of the project; it stops working at once."""
    visit.require(Scope.DEPLOY)
    key_id = visit.request.path_params["key_id"]
    if key_id not in {key.key_id for key in await parts.keys.list(visit.project)}:
        raise NotFound(f"There is no key {key_id!r} in project {visit.project!r}.")
    record = await parts.keys.revoke(key_id)
    return Go(f"{visit.base}/keys", f"{record.label or record.prefix} is revoked.")
