"""API keys and the audit log of a server, for the command line.

Server and key are found as `penstock.deploy` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.client.targets import session_of
from penstock.core.records import Scope


def create(
    scope: Scope,
    *,
    label: str = "",
    deployments: Sequence[str] | None = None,
    expires_in_s: float | None = None,
    rate_per_s: float | None = None,
    project: str | None = None,
    server: str | None = None,
) -> dict[str, Any]:
    """Make a key and return it with its text, which is shown this once.

    Args:
        scope: What it may do; an admin key is of no project.
        label: What it is for.
        deployments: The only deployments it may act on; None for all.
        expires_in_s: Seconds until it stops working; None for never.
        rate_per_s: Requests a second; None for the server's limit.
        project: The project, for a key that may act in several.
        server: Address of the server.
    """
    session, found = session_of(None, server, project)
    where = "/v1/keys" if scope is Scope.ADMIN else f"/v1/{found}/keys"
    fields: Mapping[str, Any] = {
        "scope": scope.value,
        "label": label,
        "deployments": None if deployments is None else list(deployments),
        "expires_in_s": expires_in_s,
        "rate_per_s": rate_per_s,
    }
    made: dict[str, Any] = session.post(where, fields)
    return made


def list_keys(*, project: str | None = None, server: str | None = None) -> list[dict[str, Any]]:
    """Return the keys of a project, oldest first, revoked ones too.

    Args:
        project: The project, for a key that may act in several.
        server: Address of the server.
    """
    session, found = session_of(None, server, project)
    keys: list[dict[str, Any]] = session.get(f"/v1/{found}/keys")["keys"]
    return keys


def revoke(key_id: str, *, project: str | None = None, server: str | None = None) -> dict[str, Any]:
    """Revoke a key; it is refused from the moment this returns.

    Args:
        key_id: Its id, as `list_keys` tells it.
        project: The project, for a key that may act in several.
        server: Address of the server.
    """
    session, found = session_of(None, server, project)
    gone: dict[str, Any] = session.delete(f"/v1/{found}/keys/{key_id}")
    return gone


def audit_log(
    limit: int = 50,
    *,
    everything: bool = False,
    project: str | None = None,
    server: str | None = None,
) -> list[dict[str, Any]]:
    """Return who changed what, newest first.

    Args:
        limit: Most entries to return, 1 to 1000.
        everything: The whole server instead of one project; needs an admin key.
        project: The project, for a key that may act in several.
        server: Address of the server.
    """
    session, found = session_of(None, server, project)
    where = "/v1/audit" if everything else f"/v1/{found}/audit"
    entries: list[dict[str, Any]] = session.get(f"{where}?limit={limit}")["entries"]
    return entries
